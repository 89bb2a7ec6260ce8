"""The GPU backends beside the reference, cell by cell: what they send, and gradients from one and the same trace.

    python benchmarks/gpu_agreement.py --json agreement.json

A layer of every encoder, with the settings of its recipe, gets random drives over ragged rows. A trace of the reference
in float32 is the common ground: an event at another frame changes all that comes after it, so gradients are compared
for the same events, with the reference's in float64. Outputs are compared as they come: they may differ wherever a
membrane lies at a level. The tests compare them bit for bit on numbers whose sums are exact (pytest -m gpu).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from train_step import options

SIZES, BATCH, FRAMES = (70, 256, 550), 19, 60
WEIGHTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Agreement:
    """Outputs that differ from the reference's, and the largest difference of a gradient, relative to its largest
    value (``gradient_error``) and to its norm."""

    encoder: str
    backend: str
    units: int
    weights: str
    outputs: int
    differing: int
    gradient_error: float
    gradient_error_norm: float


class Case(NamedTuple):
    cell: ModuleType
    drive: Tensor
    lengths: Tensor
    state: NamedTuple
    parameters: NamedTuple


def case(encoder: str, units: int) -> Case:
    """What a layer of the encoder gives to its kernels."""
    from snn_asr.network import encoders
    from snn_asr.network.layers import driven

    found: list[Case] = []
    kept: Callable = driven.run_sequence

    def keep(cell, drive, lengths, state, parameters, backend):
        found.append(Case(cell, drive.detach(), getattr(lengths, "tensor", lengths), state, parameters))
        return kept(cell, drive, lengths, state, parameters, backend)

    torch.manual_seed(0)
    driven.run_sequence = keep
    try:
        with torch.device("cuda"):
            module = encoders.build(encoder, 40, units, 1, **options(encoder))
            module.use_backend("reference")
            module(torch.randn(BATCH, FRAMES, 40), torch.arange(FRAMES, FRAMES - BATCH, -1))
    finally:
        driven.run_sequence = kept
    return found[-1]


def has_kernels(encoder: str) -> bool:
    """Whether the GPU backends have kernels of an encoder's cell."""
    from snn_asr.network import encoders

    cell = getattr(encoders.build(encoder, 2, 2, 1).layers[0], "cell", None)
    name = "" if cell is None else cell.__name__.rpartition(".")[2]
    return bool(name) and find_spec(f"snn_asr.network.kernels.triton.{name}") is not None


def _converted(each: object, kind: torch.dtype) -> object:
    if isinstance(each, Tensor):
        return each.detach().to(kind)
    return type(each)(*(_converted(field, kind) for field in each)) if isinstance(each, tuple) else each


def agreements(encoder: str, units: int, backends: Sequence[str]) -> list[Agreement]:
    from snn_asr.network.kernels import load

    found = []
    given = case(encoder, units)
    for label, kind in WEIGHTS.items():
        parameters = _converted(given.parameters, torch.float32)
        if getattr(parameters, "recurrent", None) is not None:
            parameters = parameters._replace(recurrent=parameters.recurrent.to(kind).float())
        elif kind != torch.float32:
            continue
        reference, state = load("reference", given.cell), _converted(given.state, torch.float32)
        trace = reference.forward(given.drive.float(), given.lengths, state, parameters)
        valid = (torch.arange(FRAMES, device="cuda") < given.lengths.unsqueeze(1)).unsqueeze(-1)
        gradient = torch.randn_like(trace.states.output) * valid
        wide = [_converted(each, torch.float64) for each in (gradient, trace, state, parameters)]
        wanted = reference.backward(*wide)
        for backend in backends:
            kernel, narrow = load(backend, given.cell), parameters
            if getattr(parameters, "recurrent", None) is not None:
                narrow = parameters._replace(recurrent=parameters.recurrent.to(kind))
            outputs = kernel.forward(given.drive.float(), given.lengths, state, narrow).states.output
            got = kernel.backward(gradient, trace, state, narrow)
            pairs = [(a.double(), b) for a, b in zip(got, wanted, strict=True) if b is not None and b.abs().max() > 0]
            found.append(Agreement(
                encoder, backend, units, label, outputs.numel(),
                int(((outputs != trace.states.output) & valid).sum()),
                max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs),
                max(float((a - b).norm() / b.norm()) for a, b in pairs),
            ))
    return found


def table(rows: Sequence[Agreement]) -> str:
    heads = f"{'units':>6} {'weights':9}{'outputs':>9}{'differ':>8}{'gradient':>10}{'norm':>9}"
    lines = [f"{'beside the reference':20}{heads}"]
    for row in rows:
        lines.append(
            f"{row.encoder + '/' + row.backend:20}{row.units:6} {row.weights:9}{row.outputs:9}{row.differing:8}"
            f"{row.gradient_error:10.1e}{row.gradient_error_norm:9.0e}"
        )
    return "\n".join(lines)


def main() -> None:
    from snn_asr.network.encoders import ENCODERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", default=",".join(filter(has_kernels, ENCODERS)))
    parser.add_argument("--backends", default="triton,cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    given = parser.parse_args()
    rows: list[Agreement] = []
    for encoder in given.encoders.split(","):
        for units in SIZES:
            rows += agreements(encoder, units, given.backends.split(","))
            if given.json:
                given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()

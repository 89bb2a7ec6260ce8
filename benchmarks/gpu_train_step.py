"""Time and memory of a training step on a CUDA device, of spiking encoders beside cuDNN's LSTM and GRU.

    python benchmarks/gpu_train_step.py
    python benchmarks/gpu_train_step.py --precision bfloat16 --encoders improved_v2 --sizes 4x1024 --json step.json

First the correctness: each encoder on the triton backend beside the reference on the same device. Then as
train_step.py: all cases of a shape in turns in one process, ratios to the faster of torch's two, everybody in the same
precision (no TF32 in float32). Memory is what a step adds at its peak. Exits with one line where no GPU is there.

The first step of a case, which compiles kernels and captures graphs, is not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from _timing import in_turns, ratio
from train_step import BASELINES, INPUT_SIZE, Shape, Timed, cases, make, options

PRECISIONS = ("float32", "bfloat16")
SMALL = Shape(layers=2, units=70, batch=19, frames=50)  # more than one tile, more than one graph


@dataclass(frozen=True)
class Row(Timed):
    """One line of the table of times."""

    precision: str
    device: str


@dataclass(frozen=True)
class Agreement:
    """Of an encoder on two backends: outputs in float32 that differ (an event at another frame changes what comes after
    it), the same in float64, and the largest difference of a gradient in float64, relative to its largest value."""

    encoder: str
    outputs: int
    differing: int
    differing_float64: int
    gradient_error: float


def agreement(encoder: str) -> Agreement:
    found = [_trained_step(encoder, backend, kind) for kind in (torch.float32, torch.float64)
             for backend in ("reference", "triton")]
    (single, _), (other, _), (double, wanted), (double_other, gradients) = found
    return Agreement(
        encoder, single.numel(), int((single != other).sum()), int((double - double_other).abs().gt(1e-9).sum()),
        max(float((got - each).abs().max() / each.abs().max()) for got, each in zip(gradients, wanted, strict=True)),
    )


def _trained_step(encoder: str, backend: str, kind: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs and gradients of one step over ragged rows; the same weights, inputs and dropout on every call."""
    from snn_asr.network.encoders import build

    torch.manual_seed(0)
    with torch.device("cuda"):
        module = build(encoder, INPUT_SIZE, SMALL.units, SMALL.layers, **options(encoder)).to(kind)
        x = torch.randn(SMALL.batch, SMALL.frames, INPUT_SIZE, dtype=kind)
        weight = torch.randn(SMALL.batch, SMALL.frames, SMALL.units, dtype=kind)
        lengths = torch.arange(SMALL.frames, SMALL.frames - SMALL.batch, -1)
    module.use_backend(backend)
    outputs = module(x, lengths)[0]
    outputs.backward(weight)
    return outputs.detach(), [each.grad for each in module.parameters() if each.grad is not None]


def measure(names: Sequence[str], shape: Shape, precision: str, rounds: int) -> list[Row]:
    """Time ``names`` and the baselines in turns; rows in that order, the baselines first."""
    with torch.device("cuda"):
        made = {name: make(name, shape) for name in (*BASELINES, *names)}
    steps = {name: _finished(step, precision) for name, (step, _) in made.items()}
    seconds = in_turns(steps, rounds)
    fastest = seconds[min(BASELINES, key=lambda each: median(seconds[each]))]
    return [
        Row(
            name, **asdict(shape), precision=precision, device=torch.cuda.get_device_name(),
            seconds=median(seconds[name]), ratio=ratio(seconds[name], fastest), memory_mib=_memory(steps[name]),
            density=densities(),
        )
        for name, (_, densities) in made.items()
    ]


def _finished(step: Callable[[], object], precision: str) -> Callable[[], None]:
    """The step in a precision, until the device is done with it."""
    def run() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            step()
        torch.cuda.synchronize()

    return run


def _memory(step: Callable[[], None]) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def correctness(found: Sequence[Agreement]) -> str:
    lines = [f"{'triton beside reference':24}{'outputs':>9}{'differ':>8}{'in float64':>12}{'gradients':>11}"]
    for each in found:
        lines.append(
            f"{each.encoder:24}{each.outputs:9}{each.differing:8}{each.differing_float64:12}{each.gradient_error:11.0e}"
        )
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """The rows of one shape as text."""
    shape = "{layers} x {units}, batch {batch}, {frames} frames, {precision}, {device}"
    lines = [
        shape.format(**asdict(rows[0])),
        f"{'':28}{'ms':>9}{'ratio':>8}{'MiB':>8}  density by layer",
    ]
    for row in rows:
        densities = " ".join(f"{each:.2f}" for each in row.density)
        lines.append(f"{row.name:28}{1000 * row.seconds:9.1f}{row.ratio:8.2f}{row.memory_mib:8.0f}  {densities}")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", help="names, comma-separated (all)")
    parser.add_argument("--backends", default="triton,reference", help="of spiking encoders, comma-separated")
    parser.add_argument("--sizes", default="2x550,4x1024", help="LAYERSxUNITS, comma-separated")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    if not torch.cuda.is_available():
        sys.exit("gpu_train_step.py: no CUDA device is here (benchmarks/train_step.py is for the CPU)")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    names = cases(given.encoders, given.backends)
    spiking = dict.fromkeys(name.split("/")[0] for name in names if not name.endswith("/auto"))
    agreements = [agreement(each) for each in spiking]
    print(correctness(agreements), end="\n\n", flush=True)
    rows: list[Row] = []
    for size in given.sizes.split(","):
        layers, units = map(int, size.split("x"))
        found = measure(names, Shape(layers, units, given.batch, given.frames), given.precision, given.rounds)
        rows += found
        print(table(found), end="\n\n", flush=True)
    if given.json:
        written = {"agreement": [asdict(each) for each in agreements], "steps": [asdict(each) for each in rows]}
        given.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Time and memory of a training step, forward and backward, of every encoder beside torch.nn.LSTM and torch.nn.GRU.

    python benchmarks/train_step.py --threads 2
    python benchmarks/train_step.py --encoders improved_v2 --backends cpu,reference --sizes 2x550 --json step.json
    python benchmarks/train_step.py --quick --plot results/benchmark

Encoders are built with the settings of their blocks in recipes/encoders/, torch's networks plain, without dropout.
All cases of one size, batch and number of frames are timed in turns in one process; a ratio is the median over rounds
of a case's time by that of the faster of torch's two. Memory is what one step of a fresh process adds at its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from _timing import in_turns, peak, ratio, reset_peak

BASELINES = ("torch.nn.LSTM", "torch.nn.GRU")
INPUT_SIZE = 120  # three stacked frames of 40 filters
DROPOUT = 0.1
SIZES = ("2x256", "2x550", "4x1024")
SWEEPS = {"frames": (100, 200, 400, 800, 1600), "units": (128, 256, 550, 1024), "batch": (8, 16, 32, 64)}
SLOW = ("reference",)  # backends timed at the smallest size and fewest frames alone, unless asked for by name


@dataclass(frozen=True)
class Shape:
    """Layers and units of the network, and the batch it is given."""

    layers: int
    units: int
    batch: int
    frames: int


@dataclass(frozen=True)
class Row:
    """One line of the table; ``density`` is the share of a layer's outputs that are not zero, one a layer."""

    name: str
    layers: int
    units: int
    batch: int
    frames: int
    threads: int
    seconds: float
    ratio: float
    memory_mib: float | None
    density: list[float]


def options(name: str) -> dict[str, object]:
    """What the recipes build the encoder with."""
    from hyperpyyaml import load_hyperpyyaml

    from snn_asr import recipe

    block = (recipe.recipes_folder() / recipe.ENCODERS / f"{name}.yaml").read_text(encoding="utf-8")
    return load_hyperpyyaml(f"bidirectional: false\ndropout: {DROPOUT}\n{block}")["encoder_options"]


def make(name: str, shape: Shape) -> tuple[Callable[[], object], Callable[[], list[float]]]:
    """The training step of ``encoder/backend`` or of a torch network, and the densities of its layers."""
    import torch

    torch.manual_seed(0)
    x, weight = torch.randn(shape.batch, shape.frames, INPUT_SIZE), torch.randn(shape.batch, shape.frames, shape.units)
    if name in BASELINES:
        plain = getattr(torch.nn, name.rpartition(".")[2])(INPUT_SIZE, shape.units, shape.layers, batch_first=True)
        return lambda: _step(plain, lambda: plain(x)[0], weight), list
    from snn_asr.encoders import build

    encoder, backend = name.split("/")
    module = build(encoder, INPUT_SIZE, shape.units, shape.layers, **options(encoder))
    for layer in module.layers:
        layer.backend = backend
    lengths = torch.full((shape.batch,), shape.frames)
    return lambda: _step(module, lambda: module(x, lengths)[0], weight), lambda: _densities(module, x, lengths)


def _step(module, forward: Callable, weight) -> None:
    module.zero_grad(set_to_none=True)
    forward().backward(weight)


def _densities(module, x, lengths) -> list[float]:
    import torch

    found: list[float] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, result: found.append(float((result[0] != 0).float().mean())))
        for layer in module.layers
    ]
    with torch.no_grad():
        module(x, lengths)
    for hook in hooks:
        hook.remove()
    return found


def measure(names: Sequence[str], shape: Shape, threads: int, rounds: int, memory: bool) -> list[Row]:
    """Time ``names`` and the baselines in turns; rows in that order, the baselines first."""
    cases = {name: make(name, shape) for name in [*BASELINES, *(each for each in names if each not in BASELINES)]}
    seconds = in_turns({name: step for name, (step, _) in cases.items()}, rounds)
    fastest = seconds[min(BASELINES, key=lambda each: median(seconds[each]))]
    return [
        Row(
            name, **asdict(shape), threads=threads, seconds=median(seconds[name]),
            ratio=ratio(seconds[name], fastest), density=densities(),
            memory_mib=_memory_of_child(name, shape, threads) if memory else None,
        )
        for name, (_, densities) in cases.items()
    ]


def _memory_of_child(name: str, shape: Shape, threads: int) -> float | None:
    given = json.dumps({"name": name, "shape": asdict(shape), "threads": threads})
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--memory-of", given]
    return json.loads(subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout)


def memory_of(name: str, shape: Shape, threads: int) -> float | None:
    """MiB that a step adds to this process at its peak; a small step before loads and compiles what is needed."""
    import torch

    torch.set_num_threads(threads)
    make(name, Shape(shape.layers, shape.units, 2, 4))[0]()
    step, _ = make(name, shape)
    before = reset_peak()
    step()
    return None if before is None else peak() - before


def table(rows: Sequence[Row]) -> str:
    """Rows as text, one heading for each shape."""
    lines, shape = [], None
    for row in rows:
        if shape != (shape := Shape(row.layers, row.units, row.batch, row.frames)):
            threads = f"{row.threads} thread{'s' * (row.threads != 1)}"
            lines += [
                "", f"{row.layers} x {row.units}, batch {row.batch}, {row.frames} frames, {threads}",
                f"{'':28}{'ms':>9}{'ratio':>8}{'MiB':>8}  density by layer",
            ]
        memory = "-" if row.memory_mib is None else f"{row.memory_mib:.0f}"
        densities = " ".join(f"{each:.2f}" for each in row.density)
        lines.append(f"{row.name:28}{1000 * row.seconds:9.1f}{row.ratio:8.2f}{memory:>8}  {densities}")
    return "\n".join(lines[1:])


def sweeps(names: Sequence[str], base: Shape, threads: int, rounds: int, values: dict) -> dict[str, list[Row]]:
    """Rows for growing frames, units and batches, all else as in ``base``."""
    found: dict[str, list[Row]] = {}
    for field, chosen in values.items():
        shapes = [Shape(**{**asdict(base), field: each}) for each in chosen]
        found[field] = [row for shape in shapes for row in measure(names, shape, threads, rounds, memory=False)]
    return found


def plot(found: dict[str, list[Row]], folder: Path) -> list[Path]:
    """One figure for each sweep: time against the growing quantity, both axes logarithmic."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for field, rows in found.items():
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for name in dict.fromkeys(row.name for row in rows):
            own = [row for row in rows if row.name == name]
            line = "--" if name in BASELINES else "-"
            axes.plot([getattr(row, field) for row in own], [row.seconds for row in own], line, marker="o", label=name)
        axes.set(xlabel=field, ylabel="seconds a step, forward and backward", xscale="log", yscale="log")
        axes.grid(True, which="both", color="#DDDDDD")
        axes.legend(frameon=False, fontsize=8)
        paths.append(folder / f"train-step-{field}.png")
        figure.savefig(paths[-1], dpi=150)
    return paths


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", help="names, comma-separated (all)")
    parser.add_argument("--backends", default="cpu", help="of spiking encoders, comma-separated: cpu, reference")
    parser.add_argument("--sizes", default=",".join(SIZES), help="LAYERSxUNITS, comma-separated")
    parser.add_argument("--batch", default="16", help="sizes of a batch, comma-separated")
    parser.add_argument("--frames", default="400", help="comma-separated")
    parser.add_argument("--threads", type=int, default=2, help="of torch and of the kernels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small network, batch and number of frames")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="also sweep frames, units and batch, and draw them")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def cases(encoders: str | None, backends: str) -> list[str]:
    """``encoder/backend`` for every pair; torch's layers within an encoder have no backend to choose."""
    from snn_asr.encoders import ENCODERS, find

    names = encoders.split(",") if encoders else list(ENCODERS)
    for each in names:
        find(each)
    dense = ("lstm", "gru")
    return [f"{name}/{'auto' if name in dense else each}" for name in names
            for each in (backends.split(",") if name not in dense else [""])]


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    if given.memory_of:
        asked = json.loads(given.memory_of)
        print(json.dumps(memory_of(asked["name"], Shape(**asked["shape"]), asked["threads"])))
        return
    import torch

    torch.set_num_threads(given.threads)
    if given.quick:
        given.sizes, given.batch, given.frames, given.rounds = "2x32", "4", "20", 2
    shapes = [
        Shape(*map(int, size.split("x")), int(batch), int(frames))
        for size in given.sizes.split(",") for batch in given.batch.split(",") for frames in given.frames.split(",")
    ]
    names, rows = cases(given.encoders, given.backends), []
    for shape in shapes:
        found = measure(names, shape, given.threads, given.rounds, not given.no_memory)
        rows += found
        print(table(found), end="\n\n", flush=True)
    if given.plot:
        values = {field: chosen[:2] for field, chosen in SWEEPS.items()} if given.quick else SWEEPS
        swept = sweeps(names, shapes[0], given.threads, given.rounds, values)
        rows += [row for each in swept.values() for row in each]
        print(*plot(swept, given.plot), sep="\n", file=sys.stderr)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Time and memory of a training step, forward and backward, of every encoder beside torch.nn.LSTM and torch.nn.GRU.

    python benchmarks/train_step.py --quick --plot results/bench
    python benchmarks/train_step.py --encoders improved_v2 --backends cpu,reference --sizes 2x550 --json step.json
    python benchmarks/train_step.py --encoders lif --plot results/lif --sweep frames=100,400,1600 --sweep batch

Encoders are built with the settings of their blocks in recipes/encoders/, torch's networks plain, without dropout.
All cases of one size, batch and number of frames are timed in turns in one process; a ratio is the median over rounds
of a case's time by that of the fastest of torch's. On some processors a second thread makes torch's networks slower, so
that these are timed with one thread, too. Memory is what one step of a fresh process adds at its peak.
With --plot the first size, batch and number of frames also grow in one of these at a time, all else kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from _growth import growth_table, plot
from _timing import in_turns, peak, ratio, reset_peak

from snn_asr.cli.main import let_idle_threads_sleep

BASELINES = ("torch.nn.LSTM", "torch.nn.GRU")
ONE_THREAD = " 1 thread"  # behind the name of a baseline, where the others have more
INPUT_SIZE = 120  # three stacked frames of 40 filters
DROPOUT = 0.1
SWEEPS = {"frames": "100,200,400,800,1600", "units": "128,256,550,1024", "batch": "8,16,32,64"}
SLOW = "/reference"  # a loop in Python: not in sweeps, and where several sizes are asked for in the first one alone
DEFAULTS = {
    "encoders": None, "sizes": "2x256,2x550,4x1024", "batch": "16", "frames": "400", "rounds": 5, "sweep": list(SWEEPS)
}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
QUICK = {"encoders": "improved_v2,improved_v1,lif,radlif,spiking_lstm", "rounds": 3}
TINY = {
    "sizes": "2x32", "batch": "4", "frames": "20", "rounds": 2,
    "sweep": ["frames=20,40,80", "units=16,32", "batch=2,4"],
}


@dataclass(frozen=True)
class Shape:
    """Layers and units of the network, and the batch it is given."""

    layers: int
    units: int
    batch: int
    frames: int


@dataclass(frozen=True)
class Timed:
    """A case of a table; ``density`` is the share of a layer's outputs that are not zero, one a layer."""

    name: str
    layers: int
    units: int
    batch: int
    frames: int
    seconds: float
    ratio: float
    memory_mib: float | None
    density: list[float]


@dataclass(frozen=True)
class Row(Timed):
    """One line of the table."""

    threads: int


def options(name: str) -> dict[str, object]:
    """What the recipes build the encoder with."""
    from snn_asr.training.recipes import recipe

    return recipe.load("FSDD", {"encoder": name, "dropout": DROPOUT}).model.encoder_options


def make(name: str, shape: Shape) -> tuple[Callable[[], object], Callable[[], list[float]]]:
    """The training step of ``encoder/backend`` or of a torch network, and the densities of its layers."""
    import torch

    torch.manual_seed(0)
    x, weight = torch.randn(shape.batch, shape.frames, INPUT_SIZE), torch.randn(shape.batch, shape.frames, shape.units)
    if name.startswith(BASELINES):
        kind = name.removesuffix(ONE_THREAD).rpartition(".")[2]
        plain = getattr(torch.nn, kind)(INPUT_SIZE, shape.units, shape.layers, batch_first=True)
        threads = 1 if name.endswith(ONE_THREAD) else torch.get_num_threads()
        return lambda: _step_of_threads(threads, plain, lambda: plain(x)[0], weight), list
    from snn_asr.network.encoders import build

    encoder, backend = name.split("/")
    module = build(encoder, INPUT_SIZE, shape.units, shape.layers, **options(encoder))
    module.use_backend(backend)
    lengths = torch.full((shape.batch,), shape.frames, device="cpu")  # where a batch has them, whatever the device
    return lambda: _step(module, lambda: module(x, lengths)[0], weight), lambda: _densities(module, x, lengths)


def _step(module, forward: Callable, weight) -> None:
    module.zero_grad(set_to_none=True)
    forward().backward(weight)


def _step_of_threads(threads: int, module, forward: Callable, weight) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    _step(module, forward, weight)
    torch.set_num_threads(before)


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


def measure(
    names: Sequence[str], shapes: Sequence[Shape], threads: int, rounds: int, memory: bool,
    clock: Callable[[], float] = time.perf_counter, with_one_thread: bool = False,
) -> list[Row]:
    """Time ``names`` and the baselines at all ``shapes`` in turns; rows in that order, the baselines first.

    The baselines are timed with so many ``threads``, and also ``with_one_thread`` if that is asked for.
    """
    baselines = [*BASELINES, *(each + ONE_THREAD for each in BASELINES if with_one_thread and threads > 1)]
    names = [*baselines, *(each for each in names if each not in baselines)]
    cases = {(shape, name): make(name, shape) for shape in shapes for name in names}
    seconds = in_turns({case: step for case, (step, _) in cases.items()}, rounds, clock)
    rows = []
    for (shape, name), (_, densities) in cases.items():
        fastest = min((seconds[shape, each] for each in baselines), key=median)
        alone = name.endswith(ONE_THREAD)
        rows.append(Row(
            name, **asdict(shape), threads=1 if alone else threads, seconds=median(seconds[shape, name]),
            ratio=ratio(seconds[shape, name], fastest), density=densities(),
            memory_mib=_memory_of_child(name, shape, threads) if memory and not alone else None,
        ))
    return rows


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
            lines += [
                "", title(row), f"{'':28}{'ms':>9}{'ratio':>8}{'MiB':>8}  density by layer",
            ]
        memory = "-" if row.memory_mib is None else f"{row.memory_mib:.0f}"
        densities = " ".join(f"{each:.2f}" for each in row.density)
        lines.append(f"{row.name:28}{1000 * row.seconds:9.1f}{row.ratio:8.2f}{memory:>8}  {densities}")
    return "\n".join(lines[1:])


def title(row: Row, without: str = "") -> str:
    """Where a row was measured, but for the field that grows."""
    parts = {
        "units": f"{row.layers} x {row.units}", "batch": f"batch {row.batch}", "frames": f"{row.frames} frames",
        "threads": f"{row.threads} thread{'s' * (row.threads != 1)}",
    }
    if without == "units":
        parts["layers"] = f"{row.layers} layers"
    return ", ".join(part for field, part in parts.items() if field != without)


def sweep(field: str, values: Sequence[int], names: Sequence[str], base: Shape, **how) -> list[Row]:
    """Rows for growing values of ``field``, all else as in ``base``; the values take turns too."""
    names = [name for name in names if not name.endswith(SLOW)]
    return measure(names, [replace(base, **{field: value}) for value in values], memory=False, **how)


def growth(field: str, rows: Sequence[Row], folder: Path) -> str:
    """The table of a sweep; its plot is written to ``folder``."""
    seconds: dict[str, dict[int, float]] = {}
    for row in rows:
        seconds.setdefault(row.name, {})[getattr(row, field)] = row.seconds
    plot(field, title(rows[0], field), seconds, folder / f"train-step-{field}.png")
    return growth_table(field, title(rows[0], field), seconds)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK['rounds']} rounds of {QUICK['encoders']}")
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs: seconds, no figures of use")
    parser.add_argument("--encoders", help="names, comma-separated (all)")
    parser.add_argument("--backends", default="cpu", help="of spiking encoders, comma-separated: cpu, reference")
    parser.add_argument("--sizes", help=f"LAYERSxUNITS, comma-separated ({DEFAULTS['sizes']})")
    parser.add_argument("--batch", help=f"sizes of a batch, comma-separated ({DEFAULTS['batch']})")
    parser.add_argument("--frames", help=f"comma-separated ({DEFAULTS['frames']})")
    parser.add_argument("--threads", type=int, default=2, help="of torch and of the kernels (2)")
    parser.add_argument("--rounds", type=int, help=f"({DEFAULTS['rounds']})")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: beside other work, with one thread")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="sweep, and write plots, tables and rows there")
    parser.add_argument(
        "--sweep", action="append", metavar="WHAT[=VALUES]", help=f"frames, units or batch, may be repeated ({SWEEPS})"
    )
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    for name, value in (DEFAULTS | (QUICK if given.quick else {}) | (TINY if given.tiny else {})).items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    given.sweeps = {}
    for field, _, values in (each.partition("=") for each in given.sweep):
        if field not in SWEEPS:
            parser.error(f"--sweep {field}: choose from {', '.join(SWEEPS)}")
        given.sweeps[field] = _numbers(values or SWEEPS[field])
        if len(given.sweeps[field]) < 2:
            parser.error(f"--sweep {field}={values}: growth wants two values or more")
    return given


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def cases(encoders: str | None, backends: str) -> list[str]:
    """``encoder/backend`` for every pair; torch's layers within an encoder have no backend to choose."""
    from snn_asr.network.encoders import ENCODERS, find

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

    from snn_asr.files import write_json, write_text

    torch.set_num_threads(given.threads)
    sizes = [_numbers(size.replace("x", ",")) for size in given.sizes.split(",")]
    shapes = [
        Shape(*size, batch, frames)
        for size in sizes for batch in _numbers(given.batch) for frames in _numbers(given.frames)
    ]
    names, rows, tables = cases(given.encoders, given.backends), [], []
    how = {"threads": given.threads, "rounds": given.rounds, "clock": CLOCKS[given.clock]}

    def add(found: list[Row], text: str) -> None:
        rows.extend(found)
        tables.append(text)
        print(text, end="\n\n", flush=True)

    for shape in shapes:
        chosen = [name for name in names if shape == shapes[0] or not name.endswith(SLOW)]
        found = measure(chosen, [shape], memory=not given.no_memory, with_one_thread=given.clock == "wall", **how)
        add(found, table(found))
    if given.plot:
        for field, values in given.sweeps.items():
            found = sweep(field, values, names, shapes[0], **how)
            add(found, growth(field, found, given.plot))
        write_text(given.plot / "tables.txt", "\n\n".join(tables) + "\n")
        write_json(given.plot / "rows.json", [asdict(row) for row in rows])
    if given.json:
        write_json(given.json, [asdict(row) for row in rows])


if __name__ == "__main__":
    let_idle_threads_sleep()  # as the commands have it, for torch's networks too
    main()

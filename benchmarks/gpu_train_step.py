"""Time and memory of a training step on a CUDA device, of spiking encoders beside cuDNN's LSTM and GRU.

    python benchmarks/gpu_train_step.py
    python benchmarks/gpu_train_step.py --precision bfloat16 --encoders improved_v2 --sizes 4x1024 --json step.json

As train_step.py: all cases of a shape in turns in one process, ratios to the faster of torch's two, everybody in the
same precision (no TF32 in float32). Memory is what a step adds at its peak. Exits with one line where no GPU is there.
Whether the numbers are right, gpu_agreement.py and ``pytest -m gpu`` say.

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
from train_step import BASELINES, Shape, Timed, cases, make

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Row(Timed):
    """One line of the table of times."""

    precision: str
    device: str


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


def profile(name: str, shape: Shape, precision: str, rows: int = 25) -> list[dict[str, object]]:
    """The kernels of one step that take most of the device's time: name, calls, milliseconds."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with torch.device("cuda"):
        step = _finished(make(name, shape)[0], precision)
    step()
    step()
    with record(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        step()
    events = [each for each in found.key_averages() if each.self_device_time_total > 0]
    events.sort(key=lambda each: -each.self_device_time_total)
    return [
        {"case": name, "precision": precision, "kernel": each.key[:110], "calls": each.count,
         "milliseconds": round(each.self_device_time_total / 1000, 3)}
        for each in events[:rows]
    ]


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
    parser.add_argument("--backends", default="auto", help="of spiking encoders, comma-separated")
    parser.add_argument("--sizes", default="2x550,4x1024", help="LAYERSxUNITS, comma-separated")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="the first size's kernels too, of every case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    if not torch.cuda.is_available():
        sys.exit("gpu_train_step.py: no CUDA device is here (benchmarks/train_step.py is for the CPU)")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    names = cases(given.encoders, given.backends)
    rows: list[Row] = []
    for size in given.sizes.split(","):
        layers, units = map(int, size.split("x"))
        found = measure(names, Shape(layers, units, given.batch, given.frames), given.precision, given.rounds)
        rows += found
        print(table(found), end="\n\n", flush=True)
        _write(given.json, {"steps": [asdict(each) for each in rows]})
    if given.profile:
        layers, units = map(int, given.sizes.split(",")[0].split("x"))
        shape = Shape(layers, units, given.batch, given.frames)
        kernels = [row for name in names for row in profile(name, shape, given.precision)]
        _write(given.json, {"steps": [asdict(each) for each in rows], "kernels": kernels})
        for row in kernels:
            print("{case:24}{milliseconds:9.3f} ms {calls:5} {kernel}".format(**row))


def _write(path: Path | None, found: dict[str, object]) -> None:
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

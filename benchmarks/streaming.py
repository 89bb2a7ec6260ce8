"""Frame by frame on one core: the event engine beside torch's and ONNX Runtime's GRU and LSTM of equal width.

    python benchmarks/streaming.py                                    artificial densities, 2x256, 2x550 and 4x1024
    python benchmarks/streaming.py --models runs/v2 runs/gru runs/lstm --audio recordings/test
    python benchmarks/streaming.py --sizes 2x550 --densities 0.05,0.1,0.2 --json streaming.json --plot streaming.png

With models the frames are those of real speech, and the table shows the models' own densities and error rates; the
widths compared are those of the spiking models. Without, the spikes of an untrained network are set to each density.
All cases of a size are timed in turns in one process, in seconds of the processor: a ratio is the median, over the
rounds, of the time of the fastest GRU of torch and ONNX Runtime in float32 by that of the case.
ONNX Runtime: pip install 'snn-asr[onnx]'.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _frame_by_frame import (  # noqa: E402
    Step,
    densities,
    event_step,
    onnx_step,
    spiking_model,
    torch_quantized,
    torch_step,
)
from _timing import in_turns, ratio  # noqa: E402
from torch import nn  # noqa: E402

from snn_asr import load_model  # noqa: E402
from snn_asr.event_model import EventModel  # noqa: E402
from snn_asr.files import write_json  # noqa: E402
from snn_asr.inputs import find_inputs  # noqa: E402
from snn_asr.recognizer import Recognizer  # noqa: E402
from snn_asr.streaming import EncoderInputs  # noqa: E402

INPUT_SIZE = 120
FRAMES = 100  # of a turn
BASELINES = ("torch GRU", "ONNX GRU")


@dataclass(frozen=True)
class Row:
    """``ratio``: how many times as fast as the fastest GRU; ``events`` a frame, of the features and all layers."""

    name: str
    size: str
    microseconds: float
    ratio: float
    density: list[float] | None = None
    events: float | None = None
    error_rate: float | None = None


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    rows: list[Row] = []
    if arguments.models:
        recognizers = [load_model(each) for each in arguments.models]
        frames = _speech(recognizers[0], arguments.audio)
        for size in sorted({_size(each) for each in recognizers}):
            rows += _compare(size, frames, arguments.rounds, [each for each in recognizers if _size(each) == size], [])
    else:
        frames = np.random.default_rng(0).standard_normal((FRAMES, INPUT_SIZE)).astype(np.float32)
        for size in arguments.sizes.split(","):
            wanted = [float(each) for each in arguments.densities.split(",")]
            rows += _compare(size, frames, arguments.rounds, [], wanted)
    if arguments.json:
        write_json(arguments.json, [asdict(each) for each in rows])
    if arguments.plot:
        _plot(rows, arguments.plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="run folders of spiking models and their twins")
    parser.add_argument("--audio", nargs="+", default=[], help="recordings for them")
    parser.add_argument("--sizes", default="2x256,2x550,4x1024")
    parser.add_argument("--densities", default="0.02,0.05,0.1,0.15,0.2,0.4")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="time a frame over the events of a frame")
    return parser.parse_args()


def _speech(recognizer: Recognizer, audio: Iterable[str]) -> np.ndarray:
    """Encoder inputs of recordings, FRAMES of them from the middle of what is there."""
    source = EncoderInputs(recognizer.model, recognizer.extractor)
    with torch.no_grad():
        inputs = torch.cat([source.accept(recognizer.samples(each.path)) for each in find_inputs(audio)[:20]])
    start = max(0, (len(inputs) - FRAMES) // 2)
    return inputs[start : start + FRAMES].contiguous().numpy()


def _size(recognizer: Recognizer) -> str:
    settings = recognizer.model.settings
    return f"{settings.num_layers}x{settings.hidden_size}"


def _compare(
    size: str, frames: np.ndarray, rounds: int, recognizers: list[Recognizer], wanted: list[float]
) -> list[Row]:
    """Time all cases of one size; print and return the rows."""
    layers, units = (int(each) for each in size.split("x"))
    steps, shares, errors = _dense_cases(layers, units, frames.shape[1]), {}, {}
    for name, network, error in _event_cases(layers, units, frames, recognizers, wanted):
        steps[name], shares[name], errors[name] = event_step(network), densities(network, frames), error
    taken: dict[str, list[float]] = {name: [] for name in steps}
    in_turns({name: _turn(step, frames, taken[name]) for name, step in steps.items()}, rounds)
    seconds = {name: each[1:] for name, each in taken.items()}  # without the one before the first round
    fastest = min(BASELINES, key=lambda name: median(seconds[name]))
    rows = []
    for name, own in seconds.items():
        density = shares.get(name)
        events = None if density is None else density[0] * frames.shape[1] + sum(density[1:]) * units
        speed = ratio(seconds[fastest], own)
        rows.append(Row(name, size, median(own) / len(frames) * 1e6, speed, density, events, errors.get(name)))
        _print(rows[-1])
    return rows


def _dense_cases(layers: int, units: int, inputs: int) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    torch.manual_seed(0)
    for kind in (nn.GRU, nn.LSTM):
        network, name = kind(inputs, units, layers).eval(), kind.__name__
        steps[f"torch {name}"] = torch_step(network)
        steps[f"torch {name} int8"] = torch_step(torch_quantized(kind(inputs, units, layers).eval()))
        steps[f"ONNX {name}"] = onnx_step(network)
        frame = np.ones((1, inputs), np.float32)
        np.testing.assert_allclose(onnx_step(network)(frame), torch_step(network)(frame), atol=1e-5)
        if kind is nn.LSTM:
            steps[f"ONNX {name} int8"] = onnx_step(network, quantize=True)
    return steps


def _event_cases(
    layers: int, units: int, frames: np.ndarray, recognizers: list[Recognizer], wanted: list[float]
) -> Iterable[tuple[str, EventModel, float | None]]:
    """Name, network and error rate of every case of our own engine."""
    for each in recognizers:
        name, error = each.model.settings.encoder, each.metrics.get("test", {}).get("error_rate")
        yield name, each.network(), error
        yield f"{name} int8", each.network("int8"), None
        yield f"{name} dense", each.network(every=True), None
    for density in wanted:
        model = spiking_model(layers, units, density, frames)
        yield f"improved_v2 at {density:g}", EventModel.of(model), None
        yield f"improved_v2 at {density:g} int8", EventModel.of(model, "int8"), None
    if wanted:
        yield "improved_v2 dense", EventModel.of(model, every=True), None


def _turn(step: Step, frames: np.ndarray, taken: list[float]) -> Callable[[], None]:
    """All frames, one at a time; adds the seconds of the processor to ``taken``: all cases run on this one thread."""
    pieces = [frames[n : n + 1] for n in range(len(frames))]

    def run() -> None:
        started = time.process_time()
        for piece in pieces:
            step(piece)
        taken.append(time.process_time() - started)

    return run


def _print(row: Row) -> None:
    density = "" if row.density is None else "density " + " ".join(f"{each:.3f}" for each in row.density[1:])
    error = "" if row.error_rate is None else f"  error {row.error_rate:.2f} %"
    figures = f"{row.microseconds:>9.1f} µs a frame {row.ratio:>7.2f} x"
    print(f"{row.size:<8} {row.name:<26} {figures}  {density}{error}", flush=True)


def _plot(rows: list[Row], path: Path) -> None:
    """Time a frame over events, one line a size and precision."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    for size in dict.fromkeys(each.size for each in rows):
        for kind in ("float32", "int8"):
            chosen = [each for each in rows if each.size == size and each.events is not None]
            chosen = [each for each in chosen if each.name.endswith("int8") == (kind == "int8")]
            chosen = sorted((each.events, each.microseconds) for each in chosen if not each.name.endswith("dense"))
            axes.plot(*zip(*chosen, strict=True), "o-", label=f"{size} {kind}")
    axes.set(xlabel="events a frame", ylabel="microseconds a frame", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

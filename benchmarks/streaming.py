"""Frame by frame on one core: the event engine beside torch's and ONNX Runtime's GRU and LSTM of equal width.

    python benchmarks/streaming.py                                    artificial densities, 2x256, 2x550 and 4x1024
    python benchmarks/streaming.py --models runs/v2 runs/gru runs/lstm --audio recordings/test    trained twins
    python benchmarks/streaming.py --sizes 2x550 --densities 0.05,0.1,0.2 --json streaming.json --plot streaming.png

With models the frames are those of real speech, as each model has them, and the table shows the models' own densities
and error rates (of their metrics: in float32). Those of one size are compared with one another; torch and ONNX Runtime
run the weights of a GRU or LSTM among them, and where there is none, weights as they were drawn. Without models, the
spikes of an untrained network are set to each density. Our own engine's time includes the head, the others' does not.
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
    network_of,
    onnx_step,
    spiking_model,
    torch_quantized,
    torch_step,
)
from _timing import in_turns, ratio  # noqa: E402
from torch import nn  # noqa: E402

from snn_asr import load_model  # noqa: E402
from snn_asr.decoding.encoder_inputs import EncoderInputs  # noqa: E402
from snn_asr.decoding.files.named_files import find_files  # noqa: E402
from snn_asr.decoding.recognizer import Recognizer  # noqa: E402
from snn_asr.errors import UsageError  # noqa: E402
from snn_asr.events.engine import EventNetwork, event_network  # noqa: E402
from snn_asr.files import write_json  # noqa: E402

FRAMES = 100  # of a turn
BASELINES = ("torch GRU", "ONNX GRU")  # in float32
TWINS = {"gru": nn.GRU, "lstm": nn.LSTM}


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


@dataclass(frozen=True)
class Case:
    """What is timed, over ``frames`` (T, D); our own engine has a ``network``."""

    step: Step
    frames: np.ndarray
    error_rate: float | None = None
    network: EventNetwork | None = None


def main(words: list[str] | None = None) -> None:
    arguments = _arguments(words)
    torch.set_num_threads(1)
    rows: list[Row] = []
    if arguments.models:
        for size, models in _by_size(arguments.models).items():
            rows += _compare(size, _trained_cases(models, arguments.audio), arguments.rounds)
    else:
        frames = np.random.default_rng(0).standard_normal((FRAMES, arguments.inputs)).astype(np.float32)
        for size in arguments.sizes.split(","):
            wanted = [float(each) for each in arguments.densities.split(",")]
            rows += _compare(size, _artificial_cases(size, frames, wanted, arguments), arguments.rounds)
    if arguments.json:
        write_json(arguments.json, [asdict(each) for each in rows])
    if arguments.plot:
        _plot(rows, arguments.plot)


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="run folders of spiking models and their twins")
    parser.add_argument("--audio", nargs="+", default=[], help="recordings for them")
    parser.add_argument("--sizes", default="2x256,2x550,4x1024")
    parser.add_argument("--densities", default="0.02,0.05,0.1,0.15,0.2,0.4")
    parser.add_argument("--inputs", type=int, default=160, help="features of a frame")
    parser.add_argument("--pruning", type=float, default=0, help="share of weights that are zero, artificially too")
    parser.add_argument("--block", type=int, default=1, help="neighbouring weights that are zero together")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="time a frame over the events of a frame")
    return parser.parse_args(words)


def _by_size(folders: Iterable[str]) -> dict[str, dict[str, Recognizer]]:
    """Models by size and name: the encoder's, with the folder's behind it where two have the same."""
    found: dict[str, dict[str, Recognizer]] = {}
    for folder in folders:
        recognizer = load_model(folder)
        settings = recognizer.model.settings
        models = found.setdefault(f"{settings.num_layers}x{settings.hidden_size}", {})
        name = settings.encoder if settings.encoder not in models else f"{settings.encoder} {folder}"
        models[name] = recognizer
    return dict(sorted(found.items()))


def _layers_and_units(size: str) -> tuple[int, int]:
    layers, units = (int(each) for each in size.split("x"))
    return layers, units


def _trained_cases(models: dict[str, Recognizer], audio: Iterable[str]) -> dict[str, Case]:
    """Of models of one size; raises UsageError where they hear speech in steps of different length."""
    first = next(iter(models.values())).model.settings
    cases: dict[str, Case] = {}
    for name, recognizer in models.items():
        if recognizer.extractor.settings.stacked_seconds != first.features.stacked_seconds:
            raise UsageError("its steps are longer or shorter than the others'", name, "compare models of one recipe")
        frames, error = _speech(recognizer, audio), recognizer.metrics.get("test", {}).get("error_rate")
        cases |= _event_cases(name, recognizer.network, frames, error)
        if recognizer.model.settings.encoder in TWINS:
            kind = recognizer.model.settings.encoder
            name = name.replace(kind, kind.upper(), 1)
            cases |= _dense_cases(name, network_of(recognizer.model, frames), frames, error)
    untrained = [kind for kind in TWINS if not any(each.startswith(f"torch {kind.upper()}") for each in cases)]
    return _untrained_cases(first.num_layers, first.hidden_size, frames, untrained) | cases


def _speech(recognizer: Recognizer, audio: Iterable[str]) -> np.ndarray:
    """Encoder inputs of recordings, FRAMES of them from the middle of what is there."""
    source = EncoderInputs(recognizer.model, recognizer.extractor)
    with torch.no_grad():
        inputs = torch.cat([source.accept(recognizer.samples(each.path))[0] for each in find_files(audio).files[:20]])
    start = max(0, (len(inputs) - FRAMES) // 2)
    return inputs[start : start + FRAMES].contiguous().numpy()


def _artificial_cases(
    size: str, frames: np.ndarray, wanted: Iterable[float], arguments: argparse.Namespace
) -> dict[str, Case]:
    layers, units = _layers_and_units(size)
    cases = _untrained_cases(layers, units, frames, TWINS)
    for density in wanted:
        model = spiking_model(
            layers, units, density, frames, pruning=arguments.pruning, block=arguments.block
        )
        for precision, suffix in (("float32", ""), ("int8", " int8")):
            network = event_network(model, precision)
            cases[f"improved_v2 at {density:g}{suffix}"] = Case(event_step(network), frames, network=network)
    network = event_network(model, every=True)
    return cases | {"improved_v2 dense": Case(event_step(network), frames, network=network)}


def _untrained_cases(layers: int, units: int, frames: np.ndarray, kinds: Iterable[str]) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    torch.manual_seed(0)
    for kind in kinds:
        cases |= _dense_cases(kind.upper(), TWINS[kind](frames.shape[1], units, layers).eval(), frames, None)
    return cases


def _dense_cases(name: str, network: nn.RNNBase, frames: np.ndarray, error: float | None) -> dict[str, Case]:
    """A GRU or LSTM in torch and in ONNX Runtime, in float32 and dynamically quantised."""
    np.testing.assert_allclose(onnx_step(network)(frames[:1]), torch_step(network)(frames[:1]), atol=1e-5)
    return {
        f"torch {name}": Case(torch_step(network), frames, error),
        f"torch {name} int8": Case(torch_step(torch_quantized(network)), frames),
        f"ONNX {name}": Case(onnx_step(network), frames, error),
        f"ONNX {name} int8": Case(onnx_step(network, quantize=True), frames),
    }


def _event_cases(
    name: str, build: Callable[..., EventNetwork], frames: np.ndarray, error: float | None
) -> dict[str, Case]:
    """Our own engine with a trained model, which ``build`` gives in a precision, and with every product taken."""
    whole, small, dense = build("float32"), build("int8"), build("float32", every=True)
    cases = {
        name: Case(event_step(whole), frames, error, whole),
        f"{name} int8": Case(event_step(small), frames, None, small),
    }
    return cases if whole.every else cases | {f"{name} dense": Case(event_step(dense), frames, None, dense)}


def _compare(size: str, cases: dict[str, Case], rounds: int) -> list[Row]:
    """Time all cases of one size; print and return the rows."""
    _, units = _layers_and_units(size)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    in_turns({name: _turn(each.step, each.frames, taken[name]) for name, each in cases.items()}, rounds)
    seconds = {name: each[1:] for name, each in taken.items()}  # without the one before the first round
    baselines = [name for name in cases if name.startswith(BASELINES) and not name.endswith("int8")]
    fastest = min(baselines, key=lambda name: median(seconds[name]))
    rows = []
    for name, case in cases.items():
        density = None if case.network is None else densities(case.network, case.frames)
        events = None if density is None else density[0] * case.frames.shape[1] + sum(density[1:]) * units
        speed, microseconds = ratio(seconds[fastest], seconds[name]), median(seconds[name]) / len(case.frames) * 1e6
        rows.append(Row(name, size, microseconds, speed, density, events, case.error_rate))
        _print(rows[-1])
    return rows


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

    rows = [each for each in rows if each.events is not None and each.name.split()[0] not in TWINS]
    figure, axes = plt.subplots()
    for size in dict.fromkeys(each.size for each in rows):
        for kind in ("float32", "int8"):
            chosen = [each for each in rows if each.size == size and each.name.endswith("int8") == (kind == "int8")]
            chosen = sorted((each.events, each.microseconds) for each in chosen if not each.name.endswith("dense"))
            axes.plot(*zip(*chosen, strict=True), "o-", label=f"{size} {kind}")
    axes.set(xlabel="events a frame", ylabel="microseconds a frame", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

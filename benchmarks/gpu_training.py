"""Whole trainings on a GPU, on data made up for it: seconds an epoch, how busy the device is, hours of speech a second.

    python benchmarks/gpu_training.py                         the first two parts (some minutes on an H200)
    python benchmarks/gpu_training.py --parts jobs --jobs 5   many trainings at once
    python benchmarks/gpu_training.py --parts an4 --encoders improved_v2,gru --json training.json

``an4`` trains the recipe AN4 as the command line does, on noise as long as AN4's utterances (857 to train on): the
files, the cache of features, the loader, the development set and the checkpoints are all there. Seconds are those of
the epochs behind the first, which compiles kernels and computes features. The last epoch runs under torch's profiler,
which slows the host down: how long kernels and copies were under way on the device in that epoch's training, divided by
the time of an epoch's training without the profiler, is the share of time that the device is busy. ``--host`` runs one
more epoch under Python's profiler and prints where the host's time goes.

``librispeech`` takes training steps on batches as the recipe LibriSpeech makes them of 28,539 utterances with the
lengths of its 100 hours, frames and targets at random on the device, once for each shape beforehand. From the hours of
speech a second follow the hours that 30 epochs take.

``jobs`` trains the recipe AN4 with ``--seeds`` seeds of every encoder, ``--jobs`` at a time, each in a process of its
own, as ``compare --jobs`` does, for some epochs; from their time follows that of trainings of 36 epochs.

It runs without a GPU, too, to see that it works: --device cpu --utterances 40 --batches 2.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch
from _generated import HundredHours, Step, write_corpus

ENCODERS = "improved_v2,gru,lstm"
AN4_UTTERANCES, AN4_EPOCHS, AN4_ALL_EPOCHS = 857, 4, 36
HUNDRED_HOURS_EPOCHS = 30
PRESETS = {
    "recipe": {}, "large": {"preset": "large"},
    # A range that moves at every frame is for the plain loop alone, which no GPU is fast at.
    "paper": {"preset": "paper", "range": "moving_average"},
}
NO_RANGE = ("gru", "lstm", "ligru", "adaptive_lif", "adlif", "rlif", "radlif", "spiking_lstm")


@dataclass(frozen=True)
class Epochs:
    """One training of the recipe AN4: seconds of the epochs behind the first, and of the first."""

    encoder: str
    device: str
    seconds: list[float]
    first_seconds: float
    busy: float | None


@dataclass(frozen=True)
class Together:
    """Many short trainings of the recipe AN4 at once: their time in all, that of an epoch of one, and what follows."""

    trainings: int
    jobs: int
    device: str
    seconds: float
    epoch_seconds: float
    whole_minutes: float


@dataclass(frozen=True)
class Throughput:
    """Training steps on batches of LibriSpeech's lengths."""

    preset: str
    encoder: str
    precision: str
    device: str
    hours_a_second: float
    epochs_hours: float
    utterances_a_batch: float
    memory_gib: float | None


def an4(encoders: Sequence[str], utterances: int, device: str, host: bool = False) -> Iterator[Epochs]:
    """Train each encoder for AN4_EPOCHS epochs."""
    from snn_asr.training.run import train

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_corpus(data, {"train": utterances, "dev": max(2, utterances // 9), "test": 2})
        for encoder in encoders:
            options = {"preset": "quick", "encoder": encoder, "epochs": AN4_EPOCHS, "cooldown_epochs": 1}
            with watched_epochs(AN4_EPOCHS) as watched:
                run = train("AN4", data, Path(folder) / encoder, device=device, overrides=options)
            rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
            seconds = [row["seconds"] for row in rows[: AN4_EPOCHS - 1]]
            yield Epochs(encoder, device_name(device), seconds[1:], seconds[0], watched.busy)
            if host:
                with watched_epochs(AN4_EPOCHS, host=True):
                    train("AN4", data, Path(folder) / f"{encoder}-host", device=device, overrides=options)


def together(encoders: Sequence[str], seeds: int, jobs: int, utterances: int, device: str) -> Together:
    """Train all encoders with several seeds for AN4_EPOCHS epochs, ``jobs`` at a time."""
    from snn_asr.training.sweep import train_encoders

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_corpus(data, {"train": utterances, "dev": max(2, utterances // 9), "test": 2})
        overrides = {"preset": "quick", "epochs": AN4_EPOCHS, "cooldown_epochs": 1}
        started = time.perf_counter()
        runs = train_encoders("AN4", encoders, seeds, data, Path(folder) / "runs", device, overrides, jobs)
        seconds = time.perf_counter() - started
        logs = [(run / "log.jsonl").read_text(encoding="utf-8").splitlines() for run in runs]
    epochs = [json.loads(line)["seconds"] for lines in logs for line in lines[1:]]
    epoch_seconds = sum(epochs) / len(epochs)
    left = (AN4_ALL_EPOCHS - AN4_EPOCHS) * epoch_seconds * len(runs) / jobs
    return Together(len(runs), jobs, device_name(device), seconds, epoch_seconds, (seconds + left) / 60)


@dataclass
class Watched:
    """Seconds of the training part of each epoch, and how long the device was at work in the last one."""

    seconds: list[float] = field(default_factory=list)
    device_seconds: float | None = None

    @property
    def busy(self) -> float | None:
        """Share of the time of an epoch's training, behind the first, during which the device is at work."""
        return None if self.device_seconds is None else self.device_seconds / min(self.seconds[1:])


@contextmanager
def watched_epochs(last: int, host: bool = False) -> Iterator[Watched]:
    """Within the block epochs of training are timed; the last runs under a profiler of the device, or of the host."""
    from snn_asr.training.loop.brain import RecognizerBrain

    plain, watched = RecognizerBrain._fit_train, Watched()

    def fit_train(brain: RecognizerBrain, train_set: object, epoch: int, enable: bool) -> None:
        def run() -> None:
            plain(brain, train_set=train_set, epoch=epoch, enable=enable)
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        if epoch == last and host:
            profile_of_host(run)
        elif epoch == last and torch.cuda.is_available():
            watched.device_seconds = device_seconds(run)
        else:
            started = time.perf_counter()
            run()
            watched.seconds.append(time.perf_counter() - started)

    with patch.object(RecognizerBrain, "_fit_train", fit_train):
        yield watched


def profile_of_host(run: Callable[[], object]) -> None:
    """Print the functions in which ``run`` spends its time, with and without what they call."""
    profile = cProfile.Profile()
    profile.runcall(run)
    for order in ("cumulative", "tottime"):
        pstats.Stats(profile).sort_stats(order).print_stats(45)


def device_seconds(run: Callable[[], object]) -> float:
    """How long the GPU was at work during ``run``."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
    on_device = [each for each in profile.profiler.kineto_results.events() if each.device_type().name == "CUDA"]
    return covered([(each.start_ns(), each.start_ns() + each.duration_ns()) for each in on_device]) / 1e9


def covered(spans: list[tuple[int, int]]) -> int:
    """Length of the union of spans (start, end)."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def librispeech(
    presets: Sequence[str], encoders: Sequence[str], precision: str, batches: int, device: str
) -> Iterator[Throughput]:
    for preset in presets:
        for encoder in encoders:
            yield throughput(preset, encoder, precision, batches, device)


def throughput(preset: str, encoder: str, precision: str, batches: int, device: str) -> Throughput:
    """Steps on ``batches`` batches of an epoch, spread evenly over their lengths."""
    from snn_asr.data.batches import BucketedBatches
    from snn_asr.training.recipes import recipe

    overrides = {"encoder": encoder, "precision": precision, **PRESETS[preset]}
    if encoder in NO_RANGE:
        overrides.pop("range", None)
    config = recipe.load("LibriSpeech", overrides)
    torch.manual_seed(0)
    data = HundredHours(config.features.hop_samples / config.features.sample_rate)
    made = list(BucketedBatches(data, config.batches.batch_frames, 1, config.batches.batch_utterances))
    made.sort(key=lambda batch: max(data.counts[index] for index in batch))
    chosen = [made[int((position + 0.5) * len(made) / batches)] for position in range(min(batches, len(made)))]
    step = Step(config, device)
    given = [step.batch([data.counts[index] for index in batch]) for batch in chosen]
    for each in given:
        step(each)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    started = time.perf_counter()
    for each in given:
        step(each)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    hours = sum(data.counts[index] for batch in chosen for index in batch) * data.hop_seconds / 3600
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    speed = hours / seconds
    whole = HUNDRED_HOURS_EPOCHS * sum(data.counts) * data.hop_seconds / 3600 / speed / 3600
    size = sum(len(batch) for batch in chosen) / len(chosen)
    return Throughput(preset, encoder, precision, device_name(device), speed, whole, size, memory)


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def an4_table(rows: Sequence[Epochs]) -> str:
    lines = [f"recipe AN4, generated audio, {rows[0].device}", f"{'':16}{'s an epoch':>12}{'first':>8}{'busy':>8}"]
    for row in rows:
        busy = f"{row.busy:8.0%}" if row.busy is not None else f"{'-':>8}"
        lines.append(f"{row.encoder:16}{min(row.seconds):12.2f}{row.first_seconds:8.1f}{busy}")
    return "\n".join(lines)


def together_line(row: Together) -> str:
    return (
        f"{row.trainings} trainings of {AN4_EPOCHS} epochs of AN4, {row.jobs} at a time, {row.device}: "
        f"{row.seconds:.0f} s, {row.epoch_seconds:.2f} s an epoch of each; of {AN4_ALL_EPOCHS} epochs "
        f"{row.whole_minutes:.1f} minutes"
    )


def librispeech_line(row: Throughput) -> str:
    memory = f", {row.memory_gib:.1f} GiB" if row.memory_gib is not None else ""
    return (
        f"LibriSpeech {row.preset:8}{row.encoder:14}{row.precision}: {row.hours_a_second:.3f} hours of speech "
        f"a second, {HUNDRED_HOURS_EPOCHS} epochs of 100 h in {row.epochs_hours:.2f} h "
        f"({row.utterances_a_batch:.0f} utterances a batch{memory})"
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="an4,librispeech", help="of an4, librispeech and jobs, comma-separated")
    parser.add_argument("--jobs", type=int, default=5, help="trainings at a time")
    parser.add_argument("--seeds", type=int, default=5, help="of every encoder, where many are trained at a time")
    parser.add_argument("--encoders", default=ENCODERS, help="names, comma-separated")
    parser.add_argument("--presets", default="paper,large", help=f"of LibriSpeech: {', '.join(PRESETS)}")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of LibriSpeech's steps")
    parser.add_argument("--utterances", type=int, default=AN4_UTTERANCES, help="to train on, of AN4")
    parser.add_argument("--batches", type=int, default=12, help="of LibriSpeech to measure")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--host", action="store_true", help="of an4: print where the host's time goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_training.py: no CUDA device is here (--device cpu shows that the benchmark works)")
    parts, encoders, found = given.parts.split(","), given.encoders.split(","), {}
    if "an4" in parts:
        rows = list(an4(encoders, given.utterances, given.device, given.host))
        print(an4_table(rows), end="\n\n", flush=True)
        found["an4"] = [asdict(each) for each in rows]
    if "librispeech" in parts:
        found["librispeech"] = []
        for row in librispeech(given.presets.split(","), encoders, given.precision, given.batches, given.device):
            print(librispeech_line(row), flush=True)
            found["librispeech"].append(asdict(row))
    if "jobs" in parts:
        row = together(encoders, given.seeds, given.jobs, given.utterances, given.device)
        print(together_line(row), flush=True)
        found["jobs"] = asdict(row)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

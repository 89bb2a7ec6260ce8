"""One stream for a day of sound, and many streams at once on one core.

    python benchmarks/streaming_soak.py MODEL RECORDING... --hours 24
    python benchmarks/streaming_soak.py MODEL RECORDING... --streams 64

``--hours``: the recordings, and silence behind each, over and over through one stream, as fast as it goes: the
transcript of every repetition must be that of the first, and memory must not grow after it. ``--streams``: each of so
many streams gets the recordings from another place on, a chunk after another in turn: the real-time factor of each,
in time of the core that they share.
Fails (exit code 1) where a transcript differs or memory grows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402

from snn_asr import load_model  # noqa: E402
from snn_asr.decoding.files.named_files import find_files  # noqa: E402
from snn_asr.decoding.live.stream import SEGMENT  # noqa: E402
from snn_asr.decoding.recognizer import Recognizer  # noqa: E402
from snn_asr.devices import use_one_core  # noqa: E402

SILENCE_SECONDS = 2.0
CHUNK_SECONDS = 0.16
GROWTH_MIB = 8.0  # of a day, allowed for what the allocators do


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--hours", type=float)
    parser.add_argument("--streams", type=int)
    parser.add_argument("--precision", help="float32, int8 or int4, else as the model has it")
    arguments = parser.parse_args()
    use_one_core()
    recognizer = load_model(arguments.model)
    samples = _loop(recognizer, arguments.recordings)
    if arguments.hours:
        _run_long(recognizer, samples, arguments.hours, arguments.precision)
    if arguments.streams:
        _run_many(recognizer, samples, arguments.streams, arguments.precision)


def _loop(recognizer: Recognizer, recordings: list[str]) -> torch.Tensor:
    """All recordings with silence behind each, as long as whole steps of the network."""
    settings = recognizer.extractor.settings
    silence = torch.zeros(int(SILENCE_SECONDS * settings.sample_rate))
    pieces = [piece for each in find_files(recordings).files for piece in (recognizer.samples(each.path), silence)]
    samples, step = torch.cat(pieces), settings.stack * settings.hop_samples
    return torch.cat([samples, torch.zeros(-len(samples) % step)])


def _run_long(recognizer: Recognizer, samples: torch.Tensor, hours: float, precision: str | None) -> None:
    rate = recognizer.extractor.settings.sample_rate
    repetitions = max(2, round(hours * 3600 * rate / len(samples)))
    stream, chunks = recognizer.stream(precision=precision), samples.split(10 * rate)
    first, memory, started = None, 0.0, time.perf_counter()
    for number in range(repetitions):
        texts = [event.text for chunk in chunks for event in stream.accept(chunk) if event.kind == SEGMENT]
        if first is None:
            first = texts
        elif texts != first:
            sys.exit(f"repetition {number + 1} differs from the first")
        if number == 1:
            memory = _memory_mib()
    seconds, sound = time.perf_counter() - started, repetitions * len(samples) / rate
    growth = _memory_mib() - memory
    print(
        f"{sound / 3600:.2f} h of sound in {seconds:.0f} s ({seconds / sound:.5f} of real time): {repetitions} equal "
        f"transcripts of {len(first)} segments, {sum(len(each.split()) for each in first)} words; memory grew by "
        f"{growth:.1f} MiB to {_memory_mib():.0f} MiB"
    )
    if growth > GROWTH_MIB:
        sys.exit("memory grew")


def _run_many(recognizer: Recognizer, samples: torch.Tensor, count: int, precision: str | None) -> None:
    rate = recognizer.extractor.settings.sample_rate
    chunk = int(CHUNK_SECONDS * rate)
    samples = samples[: 30 * rate]
    recordings = [torch.roll(samples, -index * len(samples) // count) for index in range(count)]
    streams, busy, words = [recognizer.stream(precision=precision) for _ in range(count)], [0.0] * count, 0
    started = time.perf_counter()
    for start in range(0, len(samples), chunk):
        for index, (stream, recording) in enumerate(zip(streams, recordings, strict=True)):
            before = time.thread_time()
            words += sum(event.kind == "word" for event in stream.accept(recording[start : start + chunk]))
            busy[index] += time.thread_time() - before
    seconds, sound = time.perf_counter() - started, len(samples) / rate
    print(
        f"{count} streams of {sound:.0f} s at once, in chunks of {chunk / rate:g} s: {seconds:.1f} s, "
        f"{sum(busy) / sound:.3f} of real time for all, {min(busy) / sound:.5f} to {max(busy) / sound:.5f} for each; "
        f"{words} words; {streams[0].nbytes / 1e3:.1f} kB of state a stream, "
        f"{recognizer.network(precision).nbytes / 1e6:.2f} MB of weights for all"
    )


def _memory_mib() -> float:
    """Resident memory now (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()

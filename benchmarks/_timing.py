"""What the benchmarks share: cases timed in turns, ratios of pairs, peak memory of a child process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

MEMORY_STATUS = Path("/proc/self/status")
MEMORY_RESET = Path("/proc/self/clear_refs")


def in_turns(
    steps: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each step, one a round: A B C A B C ..., so that what else runs on the machine hits all alike.

    Each step runs once before the first round, unmeasured. ``clock`` may be time.process_time: what waits for a
    processor is not counted, and what several threads do is counted for each.
    """
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = clock()
            step()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Sequence[float], baseline: Sequence[float]) -> float:
    """Median of the ratios of each round."""
    return median(each / base for each, base in zip(seconds, baseline, strict=True))


def reset_peak() -> float | None:
    """Forget the largest memory so far; MiB in use now. None where the system (Linux alone) does not tell."""
    try:
        MEMORY_RESET.write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def peak() -> float:
    """Largest memory since ``reset_peak`` in MiB."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = MEMORY_STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024

"""Progress on standard error: a bar on a terminal, and one line for each epoch everywhere."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LOOKS = 1.0  # at the loss: reading it waits for the device
WORTH_MENTIONING = 0.05  # share of an epoch's time that training waited for data


class TrainingProgress:
    """Shows the running loss and learning rate of an epoch, then its result and the density of each layer.

    Every line begins with ``name``, because several runs may share a terminal. Nothing appears unless ``shown``.
    """

    def __init__(self, name: str, epochs: int, measure: str, shown: bool = True) -> None:
        self.name, self.epochs, self.measure, self.shown = name, epochs, measure, shown
        self.console = Console(stderr=True)
        self._bar: Progress | None = None
        self._next_look = 0.0

    def start_epoch(self, epoch: int, batches: int) -> None:
        if not self.shown or not sys.stderr.isatty() or multiprocessing.parent_process() is not None:
            return  # bars of several processes would overwrite each other
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=self.console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(f"{self.name} epoch {epoch}/{self.epochs}", total=batches, state="")

    def advance(self, loss: Callable[[], float], learning_rate: float) -> None:
        """Count one more batch. ``loss`` is called only if it is shown, and not for every batch."""
        if self._bar is None:
            return
        self._bar.advance(self._task)
        if time.monotonic() >= self._next_look:
            state = f"loss {loss():.3f} · learning rate {learning_rate:.1e}"
            self._bar.update(self._task, state=state)
            self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def end_epoch(self, row: dict) -> None:
        """``row`` is the epoch's line of log.jsonl."""
        self.close()
        if not self.shown:
            return
        density = " ".join(f"{each:.2f}" for each in row["density"])
        share = row["waiting_seconds"] / max(row["seconds"], 1e-9)
        slow = row["seconds"] >= 10 and share >= WORTH_MENTIONING
        waiting = f" ({share:.0%} waiting for data: try loader_workers=2)" if slow else ""
        best = " (best)" if row["best_epoch"] == row["epoch"] else ""
        print(
            f"{self.name} epoch {row['epoch']}/{self.epochs}: loss {row['train_loss']:.3f}, "
            f"dev loss {row['dev_loss']:.3f}, dev {self.measure} {row['dev_error_rate']:.2f} %{best}, "
            f"learning rate {row['learning_rate']:.1e}, density {density}, {row['seconds']:.0f} s{waiting}",
            file=sys.stderr, flush=True,
        )

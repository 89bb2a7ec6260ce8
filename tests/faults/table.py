"""A fault: its kind, what a user or a machine does, which exit codes are right, what is said, what stays."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.world import Outcome, World

FAST_SHARE = 3
FAULTS: list[Fault] = []


@dataclass(frozen=True)
class Fault:
    """``does`` brings the fault about in a ``World`` and returns how the command under test ended.

    ``codes`` are the exit codes that are right, ``says`` what its last line on standard error has to match where it
    did not end well, and its standard error where it did. A fault may check more by itself, with plain assertions.
    """

    kind: str
    name: str
    does: Callable[[World], Outcome]
    codes: tuple[int, ...]
    says: str
    thorough: bool
    slow: bool

    def check(self, world: World) -> Outcome:
        """Bring the fault about, and assert that what happened is right. Returns how the command ended."""
        outcome = self.does(world)
        seen = f"exit {outcome.code}: {outcome.last_line}"
        assert outcome.code in self.codes, f"expected exit {self.codes}, saw {seen}\n{outcome.errors}"
        assert not re.search("Traceback|unexpected error", outcome.output + outcome.errors), seen
        if outcome.code not in (0, 3):
            assert outcome.last_line.startswith("snn-asr: "), f"no line of snn-asr's: {seen}"
        said = outcome.errors if outcome.code in (0, 3) else outcome.last_line
        assert re.search(self.says, said, re.IGNORECASE), f"no word of '{self.says}': {seen}"
        world.assert_kept()
        return outcome


def fault(
    kind: str, name: str, *, codes: tuple[int, ...] | int, says: str = "", thorough: bool = False, slow: bool = False
) -> Callable[[Callable[[World], Outcome]], Callable[[World], Outcome]]:
    """Register a function that takes a ``World`` and returns an ``Outcome`` as a fault.

    ``kind`` and ``name`` are words for people: the kinds head the summary, the names are the tests'. ``thorough``
    leaves it to ``make test``, ``slow`` to ``make test-faults``; of the others, the fast tests take ``fast_faults``.
    """

    def register(does: Callable[[World], Outcome]) -> Callable[[World], Outcome]:
        every = codes if isinstance(codes, tuple) else (codes,)
        FAULTS.append(Fault(kind, name, does, every, says, thorough, slow))
        return does

    return register


def all_faults() -> list[Fault]:
    """Every fault of the modules ``faults_*.py`` in this folder. Raises ValueError for two of a name."""
    if not FAULTS:
        for path in sorted(Path(__file__).parent.glob("faults_*.py")):
            importlib.import_module(f"faults.{path.stem}")
    names = [each.name for each in FAULTS]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two faults of one name: {sorted(twice)}")
    return FAULTS


def fast_faults() -> set[str]:
    """Names of every third fault of a kind, of those that are neither slow nor thorough: what the fast tests try."""
    by_kind: dict[str, list[str]] = {}
    for each in all_faults():
        if not (each.slow or each.thorough):
            by_kind.setdefault(each.kind, []).append(each.name)
    return {name for names in by_kind.values() for name in names[::FAST_SHARE]}


@dataclass
class Tally:
    """Faults tried and passed, by kind: the summary."""

    tried: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, passed: bool) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        self.passed[kind] = self.passed.get(kind, 0) + passed

    def lines(self) -> list[str]:
        rows = [f"{kind:<44} {self.passed[kind]:>4} of {self.tried[kind]:>4}" for kind in sorted(self.tried)]
        total = f"{'all':<44} {sum(self.passed.values()):>4} of {sum(self.tried.values()):>4}"
        return [*rows, total]

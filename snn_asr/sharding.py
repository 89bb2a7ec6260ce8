"""Work split over processes or machines: ``--shard 2/4`` is the second of four parts, which share an output folder.

Every shard is given the same list of inputs and takes every fourth of them, so that each input belongs to exactly one
shard. Each shard writes files of its own ("errors-2-of-4.json"), and the shard that finds the files of all complete
combines them. So nothing has to be locked, which network folders do not do well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from snn_asr.errors import UsageError, shortened

Item = TypeVar("Item")

MOST_SHARDS = 100_000  # whose files every shard looks for at its end
_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` parts, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that a text such as ``"2/4"`` names. Raises UsageError for any other text and for a part like
        5/4."""
        match = _SHARD.fullmatch(text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
            todo = "write i/n with i from 1 to n, such as 2/4"
            raise UsageError("not a part of a whole", f"--shard {shortened(text)}", todo)
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def owns(self, rank: int) -> bool:
        """Whether the input at this position (from 0) in the sorted list belongs to this shard."""
        return rank % self.count == self.number - 1

    def part(self, items: Sequence[Item], key: Callable[[Item], str]) -> list[Item]:
        """The ``items`` of this shard, in their order. Only the sorted ``key`` of all items decides which they are."""
        ranks = {name: rank for rank, name in enumerate(sorted(map(key, items)))}
        return [item for item in items if self.owns(ranks[key(item)])]

    def file_name(self, name: str) -> str:
        """The name of this shard's file, for the file ``name`` that an undivided run writes."""
        whole = Path(name)
        return f"{whole.stem}-{self.number}-of-{self.count}{whole.suffix}"


def shard_files(folder: Path, name: str) -> list[Path]:
    """The files that shards of any number have written in the place of the file ``name``."""
    whole = Path(name)
    pattern = re.compile(rf"{re.escape(whole.stem)}-[0-9]+-of-[0-9]+{re.escape(whole.suffix)}")
    return sorted(path for path in folder.glob(f"{whole.stem}-*{whole.suffix}") if pattern.fullmatch(path.name))

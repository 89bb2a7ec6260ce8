"""Work split over processes or machines: ``--shard 2/4`` is the second of four parts, which share an output folder.

Every shard is given the same list of inputs and takes every fourth of it, so that each input belongs to exactly one
shard. No shard writes a file of another's: each has its own ("errors-2-of-4.json"), and what is put together of all of
them is worked out by whichever finds them complete. So nothing is locked, which network folders do not do well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from snn_asr.errors import DataError, UsageError, shortened
from snn_asr.files import parse_json, require_regular, write_bytes

Item = TypeVar("Item")

MOST_SHARDS = 100_000  # the files of all are looked for when one has ended
_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` parts, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"2/4"``. Raises UsageError for anything else, and for a part that is not among so many."""
        match = _SHARD.fullmatch(text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
            todo = "write i/n with i from 1 to n, such as 2/4"
            raise UsageError("not a part of a whole", f"--shard {shortened(text)}", todo)
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def owns(self, rank: int) -> bool:
        """Whether the input of this rank (from 0) in the sorted list is this shard's."""
        return rank % self.count == self.number - 1

    def part(self, items: Sequence[Item], key: Callable[[Item], str]) -> list[Item]:
        """This shard's of ``items``, in their order; their ranks are those of ``key``, whatever order they come in."""
        ranks = {name: rank for rank, name in enumerate(sorted(map(key, items)))}
        return [item for item in items if self.owns(ranks[key(item)])]

    def file_name(self, name: str) -> str:
        """This shard's file in the place of the file ``name`` that an undivided run writes."""
        whole = Path(name)
        return f"{whole.stem}-{self.number}-of-{self.count}{whole.suffix}"


def shard_files(folder: Path, name: str) -> list[Path]:
    """What shards, of however many, have written in the place of the file ``name``."""
    whole = Path(name)
    pattern = re.compile(rf"{re.escape(whole.stem)}-[0-9]+-of-[0-9]+{re.escape(whole.suffix)}")
    return sorted(path for path in folder.glob(f"{whole.stem}-*{whole.suffix}") if pattern.fullmatch(path.name))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines that grows; none where it is not there.

    A last line without its end is left out: it is being written, or its writer was killed. Raises DataError for others.
    """
    try:
        require_regular(path)
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", path, "remove it to do its part again") from error
    rows = []
    for line in lines:
        try:
            row = parse_json(line.decode("utf-8"), path, file_names=True)
        except (DataError, UnicodeDecodeError) as error:
            raise DataError("damaged", path, "remove it to do its part again") from error
        if not isinstance(row, dict):
            raise DataError("damaged", path, "remove it to do its part again")
        rows.append(row)
    return rows


def mend_journal(path: Path) -> None:
    """Take out a last line that a killed writer cut short, so that lines can be appended; for the writer alone."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])

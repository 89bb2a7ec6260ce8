"""The wording of errors: names and values of any length and any characters in one readable line."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST_PART = 4200  # characters: paths have up to 4096
_COMMANDS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def readable(part: str) -> str:
    """A part of the line of an error, without its middle if it is longer than any path.

    A damaged file may hold names of thousands of characters. Characters that would command the terminal are spelt out.
    """
    part = _COMMANDS.sub(_spelt, part)
    return part if len(part) <= LONGEST_PART else f"{part[: LONGEST_PART // 2]} … {part[-LONGEST_PART // 2 :]}"


def readable_name(name: object) -> str:
    """A name in a line for the user. A tab or a line feed is a part of it that has to be seen."""
    return readable(on_one_line(str(name)))


def on_one_line(name: str) -> str:
    """The whole of a name with its control characters spelt out: a line feed in it would make two lines of one."""
    return _CONTROL.sub(_spelt, name)


def _spelt(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def shortened(written: str, longest: int = 60) -> str:
    """A value for the line of an error; only its beginning if it has more than ``longest`` characters."""
    return written if len(written) <= longest else f"{written[: longest - 10]}..."


def listed(names: Sequence[str], limit: int) -> str:
    """The first ``limit`` names, separated by commas, and the number of further ones."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"

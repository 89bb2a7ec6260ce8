"""The kinds of values that keys of a recipe take. A ``Kind`` reads a value into its type, or says what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snn_asr.errors import UsageError, shortened, unknown_name
from snn_asr.network.front_end import named as named_front_end


@dataclass(frozen=True)
class Kind:
    """A set of values that a key takes.

    ``words`` describe the set, as in "must be a whole number from 1". ``convert`` returns a value of the set in the
    type that the program uses, and raises ValueError or TypeError for any other value. ``names`` are the members of a
    set of names, so that the error for a misspelt one can suggest the nearest.
    """

    words: str
    convert: Callable[[Any], Any]
    names: tuple[str, ...] = ()

    def read(self, key: str, value: object, where: object = None) -> Any:
        """The value in its own type. Raises UsageError about the ``key`` and the recipe (``where``) that has it."""
        try:
            return self.convert(value)
        except UsageError:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            if self.names:
                raise unknown_name(key, str(value), self.names, where) from error
            raise UsageError(f"{key}: {shortened(repr(value), 80)}", where, f"must be {self.words}") from error


LARGEST_WHOLE = 2**53  # larger numbers lose digits in JSON, and counters overflow
MOST_EPOCHS = 1_000_000  # lists with an entry for each epoch are made before the first
LARGEST = 3e38  # in float32, in which networks are trained


def whole(least: int, most: int | None = None) -> Kind:
    """Whole numbers from ``least`` on, up to ``most`` where that is given."""

    def convert(value: object) -> int:
        _require(type(value) is int and least <= value <= (LARGEST_WHOLE if most is None else most))
        return int(value)  # type: ignore[call-overload]

    return Kind(f"a whole number from {least}" + (f" to {most}" if most is not None else ""), convert)


def number(least: float = -math.inf, most: float = math.inf, below: float = math.inf) -> Kind:
    """Finite numbers from ``least`` to ``most``, or to any number ``below`` a limit."""

    def convert(value: Any) -> float:
        _require(isinstance(value, (int, float)) and not isinstance(value, bool))
        _require(abs(value) <= LARGEST and least <= value <= most and value < below)
        return float(value)

    words = "a number" + (f" from {least:g}" if math.isfinite(least) else "")
    if math.isfinite(most) or math.isfinite(below):
        words += f" to {most:g}" if math.isfinite(most) else f" to below {below:g}"
    return Kind(words, convert)


def flag() -> Kind:
    """True or false."""

    def convert(value: object) -> bool:
        _require(isinstance(value, bool))
        return bool(value)

    return Kind("true or false", convert)


def one_of(names: Iterable[str]) -> Kind:
    """One of some names."""
    known = tuple(names)

    def convert(value: object) -> str:
        _require(isinstance(value, str) and value in known)
        return str(value)

    return Kind(f"one of {', '.join(known)}", convert, known)


def text(pattern: str, words: str) -> Kind:
    """Texts that match a regular expression as a whole."""

    def convert(value: object) -> str:
        _require(isinstance(value, str) and re.fullmatch(pattern, value) is not None)
        return str(value)

    return Kind(words, convert)


def mapping(words: str) -> Kind:
    """Mappings of names to any values."""

    def convert(value: object) -> dict[str, Any]:
        _require(isinstance(value, Mapping))
        return dict(value)  # type: ignore[call-overload]

    return Kind(words, convert)


def optional(kind: Kind) -> Kind:
    """The values of ``kind``, or null."""
    return Kind(f"{kind.words}, or null", lambda value: None if value is None else kind.convert(value), kind.names)


def list_of(convert_one: Callable[[Any], Any], words: str, least: int = 0) -> Kind:
    """Lists of at least ``least`` entries, each converted by ``convert_one``; they become tuples."""

    def convert(value: Any) -> tuple[Any, ...]:
        _require(isinstance(value, (list, tuple)) and len(value) >= least)
        return tuple(convert_one(each) for each in value)

    return Kind(words, convert)


def frames_by_epochs() -> Kind:
    """Lists of pairs: a number of frames, and a number of epochs."""

    def pair(value: Any) -> tuple[int, int]:
        frames, epochs = value
        return whole(1).convert(frames), whole(1, MOST_EPOCHS).convert(epochs)

    return list_of(pair, "a list of [frames, epochs]")


def span_of_epochs() -> Kind:
    """The first and the last epoch of a span, as two whole numbers or as two shares of all epochs (floats)."""

    def convert(value: Any) -> tuple[float, float]:
        first, last = value
        kind = number(0, 1) if isinstance(first, float) or isinstance(last, float) else whole(0)
        return kind.convert(first), kind.convert(last)

    return Kind("[first, last] epoch, or shares of all epochs such as [0.1, 0.6]", convert)


def range_of_seconds() -> Kind:
    """The shortest and the longest of a range of durations."""

    def convert(value: Any) -> tuple[float, float]:
        shortest, longest = (number(0.02, 600).convert(each) for each in value)
        if shortest > longest:
            raise ValueError("the longer one comes first")
        return shortest, longest

    return Kind("[shortest, longest] seconds, from 0.02 to 600", convert)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("not of this kind")


def folder() -> Kind:
    """The path of a folder, or the words auto and none; null means none."""

    def convert(value: Any) -> str:
        _require(value is None or (isinstance(value, str) and bool(value)))
        return "none" if value is None else str(value)

    return Kind("auto, none or a folder", convert)


def model() -> Kind:
    """The folder of a trained model; an empty text or null means none."""

    def convert(value: Any) -> str:
        _require(value is None or isinstance(value, str))
        return value or ""

    return Kind("a model folder, or the run folder around it", convert)


def front_end() -> Kind:
    """Settings of a front end, or the name of a preset of them."""
    return Kind("none, subsample4, crdnn, or settings of your own (!new:)", named_front_end)


def token_options() -> Kind:
    """Options of tokens by name. Known ones are checked here; the chosen tokens refuse those that they do not have."""
    kinds = {"vocabulary_size": whole(2, 1 << 20), "algorithm": one_of(("unigram", "bpe"))}
    given = mapping("options of the tokens by name, such as {vocabulary_size: 256}")

    def convert(value: Any) -> dict[str, Any]:
        options = given.convert(value)
        known = kinds.keys() & options.keys()
        return options | {name: kinds[name].read(f"token_options: {name}", options[name]) for name in known}

    return Kind(given.words, convert)

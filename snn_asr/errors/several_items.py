"""Work on several items of which some may fail: all of them are tried, and no error hides another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from snn_asr.errors.kinds import DataError
from snn_asr.errors.wording import listed, readable_name

Item = TypeVar("Item")
Result = TypeVar("Result")


def of_every(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of ``function`` for every item, for work that needs all of them.

    All items are tried. If some raise a DataError, one DataError at the end names all of these.
    """
    results, errors = [], []
    for each in items:
        try:
            results.append(function(each))
        except DataError as error:
            errors.append(error)
    if len(errors) > 1:
        raise unusable([f"{readable_name(each.where)}: {each.what}" for each in errors])
    if errors:
        raise errors[0]
    return results


def together_or_alone(
    function: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | Exception]:
    """The results of ``function`` for all items at once or, if that fails, for one item at a time.

    So one bad item costs the others time, but not their results. The error of an item stands in the place of its
    result.
    """
    if not items:
        return []
    try:
        return list(function(items))
    except Exception as error:
        if len(items) == 1:
            return [error]
    return [result for each in items for result in together_or_alone(function, [each])]


def unusable(problems: Sequence[str]) -> DataError:
    """The error about several recordings. Each problem names a recording and says what is wrong with it."""
    problems = list(dict.fromkeys(problems))  # several utterances may be parts of one recording
    recordings = "recording" if len(problems) == 1 else f"{len(problems)} recordings"
    return DataError(f"{recordings} cannot be used: {listed(problems, limit=20)}", todo="restore what is named")

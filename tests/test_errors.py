"""The error boundary: what of the machine or of one input becomes a line for the user, and what stays a defect."""

from __future__ import annotations

import errno
import logging
import zlib
from pathlib import Path

import pytest
import torch

from snn_asr import logs
from snn_asr.errors import (
    DataError,
    UsageError,
    as_user_error,
    blames_the_disk,
    describing,
    of_one_shape,
    together_or_alone,
)


def _raised(function) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function()
    return caught.value


FAULTS = {
    "no space": (lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")), "no space left"),
    "memory": (lambda: bytearray(1 << 62), "not enough memory"),
    "memory of torch": (lambda: torch.empty(1 << 50), "not enough memory"),
    "encoding": (lambda: b"\xff".decode("utf-8"), "not UTF-8 text"),
    "surrogate": (lambda: "\ud800".encode(), "characters that cannot be written"),
    "recursion": (lambda: (_ for _ in ()).throw(RecursionError()), "nested too deeply"),
    "codec": (lambda: zlib.decompress(b"no"), "damaged, or cut short"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_about_the_file(name: str) -> None:
    function, what = FAULTS[name]
    with pytest.raises(DataError, match=f"^x.wav: .*{what}") as caught, describing("x.wav"):
        function()
    assert "\n" not in str(caught.value)


def test_what_is_for_the_user_already_passes_through_as_it_is() -> None:
    error = UsageError("bad key", "recipe.yaml")
    with pytest.raises(UsageError) as caught, describing("x.wav"):
        raise error
    assert caught.value is error and error.where == "recipe.yaml"


@pytest.mark.parametrize(
    ("number", "of_the_disk"),
    [
        (errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, True), (errno.EFBIG, True), (errno.EACCES, False),
        (errno.ENAMETOOLONG, False),
    ],
)
def test_a_disk_that_takes_no_more_is_told_from_a_fault_of_one_file(number: int, of_the_disk: bool) -> None:
    fault = OSError(number, "x")
    assert blames_the_disk(fault) == of_the_disk

    def described() -> None:
        with describing("folder"), describing("a.wav"):
            raise fault

    raised = _raised(described)
    assert isinstance(raised, DataError) and blames_the_disk(raised) == of_the_disk
    try:
        raise UsageError("cannot be done") from raised
    except UsageError as error:
        assert blames_the_disk(error) == of_the_disk


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("shapes differ"), AssertionError()])
def test_a_defect_of_ours_stays_one(error: Exception) -> None:
    assert as_user_error(error) is None
    with pytest.raises(type(error)), describing("x.wav"):
        raise error


def test_without_a_place_the_error_of_the_system_names_its_own(tmp_path) -> None:
    described = as_user_error(_raised(lambda: open(tmp_path / "absent")))
    assert str(tmp_path / "absent") in str(described) and "no such file" in str(described)


@pytest.mark.parametrize(
    ("value", "found"), [({}, "no 'unit'"), ([], "list indices"), (None, "not subscriptable"), ({"unit": "x"}, "int")]
)
def test_a_file_of_another_shape_is_named(value, found: str) -> None:
    with pytest.raises(DataError, match=f"^metrics.json: does not hold what it should .*{found}"):
        with of_one_shape("metrics.json"):
            int(value["unit"])


def test_a_name_commands_no_terminal_and_makes_no_lines() -> None:
    name = "a\x1b[2J\x9b\tb\nc.wav"
    assert str(DataError("gone", Path(name))) == "a\\x1b[2J\\x9b\\tb\\nc.wav: gone"
    assert str(DataError("one\ntwo\x07", "x")) == "x: one\ntwo\\x07", "the program joins the lines of a library"
    record = logging.LogRecord("snn_asr.data", logging.WARNING, __file__, 1, "%s: %d cut", (Path(name), 3), None)
    assert logs._OneLine("%(message)s").format(record) == "a\\x1b[2J\\x9b\\tb\\nc.wav: 3 cut"


def test_a_line_stays_readable_whatever_a_file_calls_things() -> None:
    error = DataError("u1: no audio file " + "9" * 20_000 + "/a.wav", "manifest.json", "prepare the data")
    line = str(error)
    assert len(line) < 4500 and " … " in line
    assert line.startswith("manifest.json: u1: no audio file 9") and line.endswith("9/a.wav; prepare the data")
    longest = "/" + "a" * 4095
    assert longest in str(DataError("no such file", longest))


def test_one_bad_item_costs_the_others_their_speed_not_their_results() -> None:
    calls = []

    def inverse(items: list[int]) -> list[float]:
        calls.append(list(items))
        return [1 / each for each in items]

    first, second, third = together_or_alone(inverse, [1, 0, 4])
    assert (first, third) == (1, 0.25) and isinstance(second, ZeroDivisionError)
    assert calls == [[1, 0, 4], [1], [0], [4]]
    assert together_or_alone(inverse, [1, 2]) == [1, 0.5] and calls[4:] == [[1, 2]]
    assert together_or_alone(inverse, []) == [] and len(calls) == 5

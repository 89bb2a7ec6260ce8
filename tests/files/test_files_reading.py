"""Text and JSON are read strictly: whatever is wrong with a file is one DataError that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_asr.errors import DataError
from snn_asr.files import read_json, read_json_object, read_text
from snn_asr.files.strict_json import parse_json

DAMAGED = {
    "nothing": (b"", "not valid JSON"),
    "half": (b'{"a": [1', "not valid JSON"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
    "a key twice": (b'{"u1": 1, "u2": 2, "u1": 3}', "'u1' is there twice"),
    "a key twice within": (b'{"a": {"b": 1, "b": 1}}', "'b' is there twice"),
    "many digits": (b"[" + b"9" * 400 + b"]", "a number of 400 digits"),
    "more digits than Python reads": (b"9" * 5000, "a number of 5000 digits"),
    "half of a surrogate pair": (b'["\\ud800"]', "surrogate pair"),
    "Latin-1": (b'"\xe9"', "not UTF-8 text"),
    "binary": (b"{}\0", "bytes of 0"),
    "UTF-16 cut short": (b"\xff\xfe[", "not UTF-16"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_json_is_one_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    content, what = DAMAGED[name]
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what) as caught:
        read_json(path)
    assert caught.value.where == path and "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_of_byte_order_is_understood(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"é": 1}\r\n'.encode(encoding))
    assert read_json(path) == {"é": 1}
    assert read_text(path) == '{"é": 1}\n'


@pytest.mark.parametrize("value", [[], "text", 3, None, True])
def test_another_shape_than_an_object_is_named(value: object, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="run.json: expected a JSON object, found "):
        read_json_object(path)


def test_folders_and_absent_files_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent" / "below", tmp_path / ("n" * 300)):
        with pytest.raises(DataError) as caught:
            read_text(path)
        assert caught.value.where == path


def test_a_file_without_end_is_left_at_once() -> None:
    with pytest.raises(DataError, match="/dev/zero: not a text"):
        read_text("/dev/zero")


def test_names_of_files_may_hold_halves_of_surrogate_pairs() -> None:
    assert parse_json('["a\\udcff"]', "names", file_names=True) == ["a\udcff"]
    assert parse_json('["\\ud83d\\ude00"]', "whole pairs") == ["\N{GRINNING FACE}"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_python_writes_is_read(value: object) -> None:
    assert parse_json(json.dumps(value), "memory") == value


@given(st.text(alphabet='{}[]",:0123456789eE+-.\\nultrfas ', max_size=40))
def test_other_texts_are_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_json(text, "memory")
    except DataError as error:
        assert str(error).startswith("memory: ")

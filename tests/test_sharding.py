"""Parts of a whole: each input in one of them, and files that several processes write beside each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_asr.errors import UsageError
from snn_asr.sharding import Shard, shard_files


@given(names=st.lists(st.text(), unique=True, max_size=40), count=st.integers(1, 50), data=st.data())
def test_every_input_is_in_exactly_one_shard_whatever_order_a_machine_lists_them_in(names, count, data):
    shards = [Shard.parse(f"{number}/{count}") for number in range(1, count + 1)]
    parts = [shard.part(names, str) for shard in shards]
    assert sorted(name for part in parts for name in part) == sorted(names)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    elsewhere = data.draw(st.permutations(names))
    assert [set(part) for part in parts] == [set(shard.part(elsewhere, str)) for shard in shards]


def test_a_part_keeps_the_order_it_was_given():
    assert Shard(1, 2).part(["d", "a", "c", "b"], str) == ["a", "c"]
    assert Shard(2, 2).part(["d", "a", "c", "b"], str) == ["d", "b"]


@pytest.mark.parametrize("text", ["0/4", "5/4", "a", "2", "1/0", "-1/4", "1/4/4", "1.0/4", "1 of 4"])
@pytest.mark.parametrize("command", [("decode", "model", "audio"), ("prepare", "demo", "--output-folder", "out")])
def test_what_is_no_part_is_one_line(run, tmp_path, monkeypatch, command, text):
    monkeypatch.chdir(tmp_path)
    code, out, errors = run(*command, f"--shard={text}")
    assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
    assert errors == [f"snn-asr: --shard {text}: not a part of a whole; write i/n with i from 1 to n, such as 2/4"]
    with pytest.raises(UsageError):
        Shard.parse(text)


def test_nothing_is_no_part():
    with pytest.raises(UsageError):
        Shard.parse("")


def test_files_of_shards(tmp_path):
    assert Shard(2, 12).file_name("errors.json") == "errors-2-of-12.json"
    for name in ("errors-2-of-12.json", "errors-1-of-3.json", "errors.json", "errors-x-of-3.json", "errors-1-of-3.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in shard_files(tmp_path, "errors.json")] == ["errors-1-of-3.json", "errors-2-of-12.json"]

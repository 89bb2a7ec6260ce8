"""What is named on the command line, and where each file's output goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from snn_asr.decoding.files.named_files import NamedFile, find_files
from snn_asr.errors import DataError, UsageError

TREE = ("a.wav", "b.flac", "notes.txt", "sub/c.WAV", "sub/deeper/a.wav", "sub/deeper/d.sph")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch) -> Path:
    """Files without content, with the tree as the working folder."""
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str, listed: tuple[str, ...] = ()) -> dict[str, str]:
    """Name in the output tree to path."""
    return {each.name: each.path.as_posix() for each in find_files(words, listed).files}


def test_a_file_stands_at_the_top(tree):
    assert names("sub/deeper/d.sph") == {"d": "sub/deeper/d.sph"}
    assert names(str(tree / "notes.txt")) == {"notes": f"{tree}/notes.txt"}  # named on purpose: reading will tell


def test_a_folder_is_searched_and_its_tree_mirrored(tree):
    expected = {"a": "a.wav", "b": "b.flac", "sub/c": "sub/c.WAV", "sub/deeper/a": "sub/deeper/a.wav"}
    expected["sub/deeper/d"] = "sub/deeper/d.sph"
    assert names(".") == expected
    assert names(str(tree)) == {name: f"{tree}/{path}" for name, path in expected.items()}
    assert names("sub/") == {"c": "sub/c.WAV", "deeper/a": "sub/deeper/a.wav", "deeper/d": "sub/deeper/d.sph"}


def test_the_order_is_that_of_the_words_and_then_of_the_names(tree):
    found = find_files(["sub", "b.flac", "a.wav"]).files
    assert [each.name for each in found] == ["c", "deeper/a", "deeper/d", "b", "a"]


def test_a_glob_mirrors_the_folders_after_its_fixed_part(tree):
    assert names("sub/*/*.wav") == {"deeper/a": "sub/deeper/a.wav"}
    assert names("**/*.wav") == {"a": "a.wav", "sub/deeper/a": "sub/deeper/a.wav"}
    assert names(f"{tree}/s*/*.WAV") == {"sub/c": f"{tree}/sub/c.WAV"}
    assert names("./[ab].*") == {"a": "a.wav", "b": "b.flac"}


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tree):
    (tree / "a[1].wav").touch()
    assert names("a[1].wav") == {"a[1]": "a[1].wav"}


def test_a_list_keeps_the_folders_of_relative_paths(tree):
    listed = ("sub/c.WAV\n", "\n", "  a.wav \n", f"{tree}/sub/deeper/d.sph\n", "../elsewhere/e.wav\n")
    assert names("-", listed=listed) == {
        "sub/c": "sub/c.WAV", "a": "a.wav", "d": f"{tree}/sub/deeper/d.sph", "e": "../elsewhere/e.wav"
    }
    assert find_files(["-"], []).files == []


def test_a_listed_name_that_no_disk_can_hold_keeps_no_other_from_being_read(tree):
    long = Path("b" * 300 + ".wav")
    assert [each.path for each in find_files(["-"], [f"{long}\n", "sub/c.wav\n"]).files] == [long, Path("sub/c.wav")]


def test_files_that_differ_in_the_suffix_alone_keep_it(tree):
    (tree / "a.flac").touch()
    assert names("a.wav", "a.flac", "b.flac") == {"a.wav": "a.wav", "a.flac": "a.flac", "b": "b.flac"}


def test_one_file_named_twice_is_one_input(tree):
    assert find_files(["a.wav", "./a.wav", "a.*"]).files == [NamedFile(Path("a.wav"), "a")]


def test_two_files_for_one_place_are_refused(tree):
    with pytest.raises(UsageError, match=r"2 inputs would be written as 'a\.wav'"):
        find_files(["a.wav", "sub/deeper/a.wav"])
    with pytest.raises(UsageError, match=r"2 inputs would be written as 'a\.wav'"):
        find_files(["-", "a.wav"], [f"{tree}/sub/deeper/a.wav"])


def test_what_is_not_there_is_named(tree):
    (tree / "empty").mkdir()
    for word, problem in (
        ("absent.wav", "no such file or folder"), ("*.mp3", "no file matches"), ("empty", "no audio in this folder")
    ):
        with pytest.raises(DataError, match=problem) as caught:
            find_files(["a.wav", word])
        assert word in str(caught.value)

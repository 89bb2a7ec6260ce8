"""What lies below a folder: audio by its name, links, folders that cannot be entered, what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snn_asr.data.audio_folder import find_audio, is_audio_name


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(paths, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_audio_is_known_by_its_name_in_either_case_and_what_a_mac_leaves_is_none(tmp_path):
    touch(tmp_path, "b/x.FLAC", "a.wav", "b/c/y.oga", "notes.txt", "._a.wav", "b/.hidden.wav", "z.caf", "wav")
    found = find_audio(tmp_path)
    assert names(found.files, tmp_path) == ["a.wav", "b/.hidden.wav", "b/c/y.oga", "b/x.FLAC", "z.caf"]
    assert not found.unreadable and not found.passed_over
    assert is_audio_name("A.RF64") and not is_audio_name("._A.WAV")


def test_sound_of_formats_that_are_not_read_is_named(tmp_path):
    touch(tmp_path, "a.m4a", "b.WMA", "c.wav", "._a.m4a")
    found = find_audio(tmp_path)
    assert names(found.passed_over, tmp_path) == ["a.m4a", "b.WMA"]
    assert "convert it" in found.passed_over[tmp_path / "a.m4a"]


def test_links_are_followed_once_and_never_in_a_circle(tmp_path):
    touch(tmp_path, "disk/one.wav", "in/two.wav", "in/deep/three.wav")
    (tmp_path / "in" / "disk").symlink_to(tmp_path / "disk")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "disk")
    (tmp_path / "in" / "deep" / "up").symlink_to("..")
    (tmp_path / "in" / "file.wav").symlink_to(tmp_path / "disk" / "one.wav")
    found = find_audio(tmp_path / "in")
    expected = ["again/one.wav", "deep/three.wav", "file.wav", "two.wav"]
    assert names(found.files, tmp_path / "in") == expected
    assert names(found.passed_over, tmp_path / "in") == ["disk", "deep/up"]


def test_mutual_links_of_many_folders_end(tmp_path):
    for each in range(12):
        touch(tmp_path, f"{each}/a.wav")
        for other in range(12):
            (tmp_path / str(each) / f"to{other}").symlink_to(tmp_path / str(other))
    assert len(find_audio(tmp_path).files) == 12


def test_links_to_nowhere_are_files_where_they_are_named_so_and_unreadable_elsewhere(tmp_path):
    touch(tmp_path, "a.wav")
    (tmp_path / "b.wav").symlink_to("/nowhere/b.wav")
    (tmp_path / "disk").symlink_to("/nowhere")
    found = find_audio(tmp_path)
    assert names(found.files, tmp_path) == ["a.wav", "b.wav"]
    assert found.unreadable == {tmp_path / "disk": "a link to /nowhere, which is not there"}


def test_folders_that_cannot_be_searched_are_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.wav", "closed/b.wav")
    scandir = os.scandir

    def refuse(folder: Path):
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_audio(tmp_path)
    assert names(found.files, tmp_path) == ["a.wav"]
    assert found.unreadable == {tmp_path / "closed": "cannot be searched (Permission denied)"}


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_unreadable(name, tmp_path):
    touch(tmp_path, "file")
    assert list(find_audio(tmp_path / name).unreadable) == [tmp_path / name]

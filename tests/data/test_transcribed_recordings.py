"""Utterances of a manifest, found by the recordings that it names."""

from __future__ import annotations

import json
from pathlib import Path

from snn_asr.data.transcripts import by_ending, by_place, by_recording, recordings_of

WAVS = {"u1": Path("m/a/one.wav"), "u2": Path("m/b/one.wav"), "u3": Path("m/b/two.flac"), "u4": Path("m/b/two.x.flac")}


def test_by_ending_takes_what_no_other_recording_ends_with() -> None:
    names = ["a/one", "one", "b/one", "two", "b/two.flac", "two.x", "x/two", "wo", "m/b/two"]
    expected = {"a/one": "u1", "b/one": "u2", "two": "u3", "b/two.flac": "u3", "two.x": "u4", "m/b/two": "u3"}
    assert by_ending(names, WAVS) == expected


def test_by_place_follows_links_and_takes_the_recording_of_one_utterance(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/x.wav", "a/y.wav"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    recordings = {"u1": tmp_path / "link" / "x.wav", "u2": tmp_path / "a" / "y.wav", "u3": tmp_path / "link" / "y.wav"}
    assert by_place({"x": tmp_path / "a/x.wav", "y": tmp_path / "a/y.wav", "z": tmp_path / "z"}, recordings) == {
        "x": "u1"
    }


def test_by_recording_changes_all_or_none() -> None:
    assert by_recording({"a/one": "x", "two": "y"}, WAVS, WAVS) == {"u1": "x", "u3": "y"}
    for unchanged in ({"one": "x", "two": "y"}, {"a/one": "x", "u3": "y"}, {"two": "x", "b/two": "y"}):
        assert by_recording(unchanged, WAVS, WAVS) == unchanged
    assert by_recording({"a/one": "x"}, WAVS, {}) == {"a/one": "x"}


def test_recordings_are_those_of_manifests_alone(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"e\u0301": {"wav": "a.wav", "text": "x"}, "v": {"text": "y"}}))
    assert recordings_of(tmp_path / "m.json") == {"\u00e9": tmp_path / "a.wav"}
    (tmp_path / "text").write_text("u1 x\n")
    assert recordings_of(tmp_path / "text") == recordings_of(tmp_path) == {}

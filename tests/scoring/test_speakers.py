"""Speakers from every source, and no speakers that nobody named."""

from __future__ import annotations

import json

import pytest

from snn_asr.errors import DataError
from snn_asr.scoring.speakers import find_speakers, read_speakers

MANIFEST = json.dumps({"a-1": {"text": "x", "speaker": "ann"}, "a-2": {"text": "y", "speaker": "bob"}})


def write(path, content):
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("utt2spk", "a-1 ann\n\na-2\tbob\n"),
        ("test.json", MANIFEST),
        ("lines.jsonl", '{"id": "a-1", "speaker": "ann"}\n{"id": "a-2", "speaker": "bob"}\n'),
    ],
)
def test_read_speakers(tmp_path, name, content):
    assert read_speakers(write(tmp_path / name, content)) == {"a-1": "ann", "a-2": "bob"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("utt2spk", "a ann\nb\n", r"utt2spk:2: not of the form 'utterance speaker'"),
        ("utt2spk", "a ann\na bob\n", r"utt2spk:2: utterance 'a' is there twice"),
        ("utt2spk", "", "utt2spk: names no speakers"),
        ("a.json", '{"a": {"text": "x"}}', r"a\.json: names no speakers"),
    ],
)
def test_malformed(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_speakers(write(tmp_path / name, content))


def test_the_file_goes_before_the_manifest_and_that_before_the_ids(tmp_path):
    manifest, plain = write(tmp_path / "test.json", MANIFEST), write(tmp_path / "text", "a-1 x\na-2 y\n")
    given = write(tmp_path / "utt2spk", "a-1 zoe\na-2 zoe\na-3 zoe\n")
    ids = ["a-1", "a-2"]
    from_file = find_speakers(ids, (manifest, plain), given)
    assert (from_file.by_utterance, from_file.source, from_file.count) == (dict.fromkeys(ids, "zoe"), str(given), 1)
    for files in ((manifest, plain), (plain, manifest)):
        found = find_speakers(ids, files)
        assert (found.by_utterance, found.source) == ({"a-1": "ann", "a-2": "bob"}, str(manifest))
    by_ids = find_speakers(ids, (plain, tmp_path))
    assert by_ids.by_utterance == dict.fromkeys(ids, "a") and "utterance ids" in by_ids.source


def test_ids_are_split_at_the_last_mark():
    found = find_speakers(["dr1-fcjf0-sx37", "dr1-fcjf0_si648", "a_b-c_d"], ())
    assert list(found.by_utterance.values()) == ["dr1-fcjf0", "dr1-fcjf0", "a_b-c"]


def test_every_utterance_needs_a_speaker(tmp_path):
    manifest = write(tmp_path / "test.json", MANIFEST)
    with pytest.raises(DataError, match=r"test\.json: utterance 'b-1' has no speaker; give --speakers"):
        find_speakers(["a-1", "b-1"], (manifest,))
    with pytest.raises(DataError, match=r"utt2spk: utterance 'a-1' has no speaker"):
        find_speakers(["a-1"], (manifest,), write(tmp_path / "utt2spk", "x y\n"))
    with pytest.raises(DataError, match="the utterance id 'b' holds no speaker"):
        find_speakers(["a-1", "b"], ())


def test_ids_whose_speakers_all_differ_tell_nothing():
    """AN4's ids hold the speaker in the middle."""
    with pytest.raises(DataError, match=r"ids do not tell the speakers: .*'an416-fjlp' in 'an416-fjlp-b'.*--speakers"):
        find_speakers(["an416-fjlp-b", "an417-fjlp-b"], ())

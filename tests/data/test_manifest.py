"""Manifests: round trip, every problem in one error, splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data.manifest import (
    Utterance,
    check_disjoint,
    find_manifest,
    find_manifests,
    manifest_fingerprint,
    read_manifest,
    write_manifest,
)
from snn_asr.errors import DataError

GOOD = {"wav": "a.wav", "duration": 1.5, "speaker": "s", "text": "one"}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "a.wav").touch()
    return tmp_path


def problems_of(folder: Path, entries: object) -> str:
    (folder / "m.json").write_text(json.dumps(entries))
    with pytest.raises(DataError) as caught:
        read_manifest(folder / "m.json")
    assert "\n" not in str(caught.value) and str(folder / "m.json") in str(caught.value)
    return caught.value.what


@settings(max_examples=25)
@given(
    utterances=st.lists(
        st.builds(
            Utterance,
            id=st.text(min_size=1, max_size=5),
            wav=st.just(Path("a.wav")),
            duration=st.floats(0.001, 86400),
            speaker=st.text(max_size=5),
            text=st.text(max_size=20),
            phones=st.none() | st.lists(st.tuples(st.text(max_size=3), st.floats(0.001, 8e4)), unique_by=lambda p: p[1])
            .map(lambda phones: tuple(sorted(phones, key=lambda phone: phone[1]))),
        ),
        min_size=1,
        unique_by=lambda utterance: utterance.id,
    )
)
def test_reading_gives_what_was_written_in_order(tmp_path_factory, utterances):
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "a.wav").touch()
    utterances = [Utterance(**{**vars(each), "wav": folder / "a.wav"}) for each in utterances]
    write_manifest(folder / "m.json", utterances)
    assert list(read_manifest(folder / "m.json").values()) == utterances


def test_audio_below_the_manifest_is_written_relative_and_other_audio_absolute(folder, monkeypatch):
    inside, outside = folder / "lists" / "audio" / "b.wav", folder / "a.wav"
    inside.parent.mkdir(parents=True)
    inside.touch()
    monkeypatch.chdir(folder)
    utterances = [Utterance("in", inside, 1.0, "s", "x"), Utterance("out", Path("a.wav"), 1.0, "s", "x")]
    write_manifest(Path("lists/m.json"), utterances)
    written = json.loads((folder / "lists" / "m.json").read_text())
    assert (written["in"]["wav"], written["out"]["wav"]) == ("audio/b.wav", str(outside))
    (folder / "lists").rename(folder / "moved")
    assert read_manifest(folder / "moved" / "m.json")["in"].wav == folder / "moved" / "audio" / "b.wav"


def test_equal_ids_are_refused(folder):
    twice = [Utterance("same", folder / "a.wav", 1.0, "s", "x")] * 2
    with pytest.raises(DataError, match="'same' occurs twice"):
        write_manifest(folder / "m.json", twice)
    assert not (folder / "m.json").exists()


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"wav": None}, "wav must be a text, found NoneType"),
        ({"wav": "absent.wav"}, "no audio file"),
        ({"duration": 0}, "duration must be a positive number of seconds, at most a day, found 0"),
        ({"duration": -1.5}, "found -1.5"),
        ({"duration": "2"}, "found '2'"),
        ({"duration": 1e300}, "found 1e+300"),
        ({"duration": 86401}, "found 86401"),
        ({"wav": "a\0.wav"}, "no audio file"),
        ({"wav": "a\nb.wav"}, "a\\nb.wav"),
        ({"wav": "a" * 5000}, "no audio file"),
        ({"duration": True}, "found True"),
        ({"duration": float("nan")}, "found nan"),
        ({"speaker": 7}, "speaker must be a text, found int"),
        ({"text": ["one"]}, "text must be a text, found list"),
        ({"phones": "sil"}, "phones must be a list, found str"),
        ({"phones": [["a", 0.5], ["b", 0.5]]}, "phone 1 ends at 0.5 s, not after"),
        ({"phones": [["a", 0.5], ["b", 0.4], ["c", 0.45]]}, "phone 2 ends at 0.45 s"),
        ({"phones": [["a"]]}, "phone 0 must be"),
        ({"phones": [["a", 0]]}, "phone 0 must be"),
        ({"start": 0.5}, "start is 0.5, but recordings are read whole"),
        ({"offset": "1"}, "offset is '1', but recordings are read whole"),
        ({"start": 0, "stop": 0.1}, "stop is 0.1, but recordings are read whole"),
        ({"channel": 0}, "channel is 0, but recordings are read whole"),
    ],
)
def test_each_problem_is_named(folder, change, expected):
    if "phone 2" in expected:
        change = {"phones": [["a", 0.3], ["b", 0.5], ["c", 0.45]]}
    what = problems_of(folder, {"u1": GOOD, "u2": GOOD | change})
    assert what.startswith("1 problem(s): u2: ") and expected in what


def test_keys_that_say_that_an_utterance_is_the_whole_recording_are_taken(folder):
    whole = GOOD | {"start": 0.0, "end": GOOD["duration"], "channel": None, "accent": "none"}
    (folder / "whole.json").write_text(json.dumps({"u1": whole}))
    assert read_manifest(folder / "whole.json")["u1"].duration == GOOD["duration"]


@pytest.mark.parametrize("key", GOOD)
def test_each_missing_key_is_named(folder, key):
    assert f"u1: no key '{key}'" in problems_of(folder, {"u1": {k: v for k, v in GOOD.items() if k != key}})


def test_all_problems_come_in_one_error_the_first_twenty_in_words(folder):
    what = problems_of(folder, {f"u{index}": GOOD | {"duration": 0, "wav": "no.wav"} for index in range(15)} | {"x": 3})
    assert what.startswith("31 problem(s)") and what.endswith("and 11 more")
    assert "u9: no audio file" in what and "u10:" not in what
    assert "x: expected an object, found int" in problems_of(folder, {"x": 3})


def test_files_that_are_no_manifest(folder):
    assert problems_of(folder, {}) == "no utterances"
    assert problems_of(folder, [GOOD]).startswith("not a manifest")
    with pytest.raises(DataError, match="no such file"):
        read_manifest(folder / "absent.json")
    (folder / "broken.json").write_text('{"u1": ')
    with pytest.raises(DataError, match="not valid JSON"):
        read_manifest(folder / "broken.json")


def test_fingerprint_follows_the_content(folder):
    (folder / "m.json").write_text("abc")
    assert manifest_fingerprint(folder / "m.json") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_splits_must_not_share_ids_or_recordings(folder):
    def split(**wavs: str) -> dict[str, Utterance]:
        return {name: Utterance(name, folder / wav, 1.0, "s", "x") for name, wav in wavs.items()}

    check_disjoint({"train": split(a="1.wav", b="1.wav"), "dev": split(c="2.wav"), "test": split(d="3.wav")})
    with pytest.raises(DataError, match="'a' occurs in both train and test"):
        check_disjoint({"train": split(a="1.wav"), "dev": split(b="2.wav"), "test": split(a="3.wav")})
    with pytest.raises(DataError, match=r"1\.wav occurs in both train and dev"):
        check_disjoint({"train": split(a="1.wav"), "dev": split(b="sub/../1.wav")})


def test_manifests_are_found_and_missing_ones_named(folder):
    with pytest.raises(DataError, match=r"no train\.json, dev\.json, test\.json; .*`snn-asr prepare`"):
        find_manifests(folder)
    for name in ("test", "train", "prepared", "isolated_dev"):
        (folder / f"{name}.json").touch()
    with pytest.raises(DataError, match=r"no dev\.json"):
        find_manifests(folder)
    (folder / "dev.json").touch()
    assert list(find_manifests(folder)) == ["train", "dev", "test", "isolated_dev"]
    assert find_manifests(folder)["dev"] == folder / "dev.json"


def test_one_manifest_is_found_where_the_others_are_missing(folder):
    (folder / "isolated_dev.json").touch()
    assert find_manifest(folder, "dev", "isolated_") == folder / "isolated_dev.json"
    with pytest.raises(DataError, match=r": no dev\.json; .*`snn-asr prepare`"):
        find_manifest(folder, "dev")


def test_a_prefix_finds_other_manifests_of_the_same_splits(folder):
    for name in ("train", "dev", "test", "isolated_train", "isolated_dev"):
        (folder / f"{name}.json").touch()
    with pytest.raises(DataError, match=r"no isolated_test\.json; "):
        find_manifests(folder, "isolated_")
    for name in ("isolated_test", "isolated_other"):
        (folder / f"{name}.json").touch()
    found = find_manifests(folder, "isolated_")
    assert found == {split: folder / f"isolated_{split}.json" for split in ("train", "dev", "test", "other")}

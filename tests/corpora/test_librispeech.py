"""LibriSpeech: generated trees of the corpus' shape against the published numbers, the real sample."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import soundfile
from librispeech_tree import MINUTES, flac, write_small, write_split

from snn_asr import corpora
from snn_asr.cli.options import parse_overrides
from snn_asr.corpora import librispeech
from snn_asr.corpora.librispeech import clean, plan, prepare
from snn_asr.data.manifest import find_manifests, read_manifest
from snn_asr.errors import DataError, UsageError
from snn_asr.sharding import Shard


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    return write_small(tmp_path, monkeypatch)


def test_the_published_numbers_are_those_of_the_corpus_itself(shared_data):
    readers: dict[str, list[float]] = {}
    for line in (shared_data / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines():
        if not line.startswith(";"):
            _, _, split, minutes, *_ = line.split("|")
            readers.setdefault(split.strip(), []).append(float(minutes))
    assert readers.keys() == librispeech.PUBLISHED.keys()
    for split, minutes in readers.items():
        published = librispeech.PUBLISHED[split]
        assert (published.speakers, published.minutes) == (len(minutes), pytest.approx(sum(minutes), rel=1e-5))
    assert round(librispeech.PUBLISHED["train-clean-100"].minutes / 60, 1) == 100.6


def test_manifests_point_at_every_recording_with_its_text(small, tmp_path):
    summary = prepare(small.parent, tmp_path / "out")
    assert summary["train"] == {"utterances": 23, "hours": round(2 / 60, 3), "speakers": 4}
    manifests = {split: read_manifest(path) for split, path in find_manifests(tmp_path / "out").items()}
    assert {split: len(each) for split, each in manifests.items()} == {"train": 23, "dev": 5, "test": 4}
    for split, folder in (("train", "train-clean-100"), ("dev", "dev-clean"), ("test", "test-clean")):
        assert {each.wav for each in manifests[split].values()} == set((small / folder).rglob("*.flac"))
    utterance = manifests["train"]["101-7000-0002"]
    assert utterance.wav == small / "train-clean-100" / "101" / "7000" / "101-7000-0002.flac"
    assert (utterance.speaker, utterance.text) == ("101", "it's number 101 7000 0002")
    mean = round(MINUTES * 60 * 16000 / 23)
    assert utterance.duration == (mean - mean // 2) / 16000  # the ninth of four speakers' turns: an odd index


def test_more_splits_and_joined_ones(small, tmp_path):
    splits = ["train-clean-100", "dev-clean", "test-clean", "test-other"]
    assert list(prepare(small, tmp_path / "list", splits=splits)) == ["train", "dev", "test", "test_other"]
    assert read_manifest(tmp_path / "list" / "test_other.json").keys() == {f"100-7000-000{each}" for each in range(3)}
    for path in (small / "test-other").rglob("100*"):
        path.rename(path.with_name(path.name.replace("100", "900", 1)))
    transcript = next((small / "test-other").rglob("*.trans.txt"))
    transcript.write_text(transcript.read_text().replace("100-", "900-"))
    joined = prepare(small, tmp_path / "joined", splits={"dev": ["dev-clean", "test-other"]})
    assert joined == {"dev": {"utterances": 8, "hours": round(4 / 60, 3), "speakers": 3}}


@pytest.mark.parametrize(
    ("splits", "manifests"),
    [
        (librispeech.DEFAULT_SPLITS, {"train": ["train-clean-100"], "dev": ["dev-clean"], "test": ["test-clean"]}),
        ("test-other", {"test": ["test-other"]}),
        ("train-clean-100, train-other-500,dev-other",
         {"train": ["train-clean-100", "train-other-500"], "dev": ["dev-other"]}),
        (["dev-clean", "dev-other", "test-clean", "test-other", "heldout-dev"],
         {"dev": ["dev-clean"], "dev_other": ["dev-other"], "test": ["test-clean"], "test_other": ["test-other"],
          "heldout_dev": ["heldout-dev"]}),
        ({"train": "a", "dev": ["b", "c"]}, {"train": ["a"], "dev": ["b", "c"]}),
    ],
)  # fmt: skip
def test_which_split_goes_where(splits, manifests):
    assert plan(splits) == manifests


@pytest.mark.parametrize(
    "splits",
    [
        [], None, 3, "", ["../a"], {}, {"train": []}, {"train": [3]}, {"train": 3}, {"train": "../a"},
        {"prepared": "a"}, {"../a": "a"}, {3: "a"},
    ],
)
def test_splits_that_cannot_be_are_a_usage_error(splits):
    with pytest.raises(UsageError, match="corpus librispeech: splits=.*write for example"):
        plan(splits)


def test_a_split_is_taken_once():
    with pytest.raises(UsageError, match="split 'a' is given twice"):
        plan({"train": ["a", "b"], "dev": "a"})


def test_the_rule_for_transcripts(shared_data):
    assert clean("  MR. O'NEILL\u2019S Caf\u00e9-owner,  SAID: ' -- \n") == "mr o'neill's cafe owner said"
    assert clean("'TIS 42!") == "'tis 42"
    assert clean(" -- ") == ""
    lines = [line for path in (shared_data / "LibriSpeech").rglob("*.trans.txt") for line in path.open()]
    texts = [line.split(" ", 1)[1].strip() for line in lines]
    assert len(texts) == 257 and all(clean(text) == text.lower() for text in texts)


def test_what_is_not_as_published_is_one_error_and_partial_takes_it(small, tmp_path, caplog):
    chapter = small / "train-clean-100" / "100" / "7000"
    (chapter / "100-7000-0001.flac").unlink()
    (chapter / "100-7000-9999.flac").write_bytes(flac(16000))
    (small / "dev-clean" / "101" / "7000" / "101-7000.trans.txt").unlink()
    with pytest.raises(DataError) as caught:
        prepare(small, tmp_path / "out")
    assert str(caught.value) == (
        f"{small}: not as published: train-clean-100: 1 recordings without transcript (100-7000-9999); "
        "train-clean-100: 1 transcripts without recording (100-7000-0001); "
        "train-clean-100: 22 utterances of 4 speakers, published are 23 of 4; "
        "dev-clean: 2 recordings without transcript (101-7000-0000, 101-7000-0001); "
        "dev-clean: 3 utterances of 1 speakers, published are 5 of 2; "
        "restore the corpus, or take it as it is with 'snn-asr prepare --partial'"
    )
    assert not (tmp_path / "out").exists()
    assert prepare(small, tmp_path / "out", partial=True)["train"]["utterances"] == 22
    assert "22 utterances of 4 speakers" in caplog.text
    assert not {"100-7000-0001", "100-7000-9999"} & read_manifest(tmp_path / "out" / "train.json").keys()


def test_wrong_durations_are_one_error(small, tmp_path):
    path = small / "dev-clean" / "100" / "7000" / "100-7000-0000.flac"
    path.write_bytes(flac(16000 * 60))
    with pytest.raises(DataError, match=r"not as published: dev-clean: 2\.\d\d minutes, published are 2\.00; restore"):
        prepare(small, tmp_path / "out")
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_recordings_that_cannot_be_read_are_named_together_or_left_out(small, tmp_path, caplog):
    chapter = small / "dev-clean" / "100" / "7000"
    whole = (chapter / "100-7000-0000.flac").read_bytes()
    (chapter / "100-7000-0000.flac").write_bytes(b"fLaC and no more")
    (chapter / "100-7000-0001.flac").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2 recordings .*0000.flac: not readable as audio.*0001.flac: cut short"):
        prepare(small, tmp_path / "out")
    assert not (tmp_path / "out" / "prepared.json").exists()
    for shards in (1, 2):
        out = tmp_path / f"out{shards}"
        caplog.clear()
        for number in range(shards, 0, -1):
            prepare(small, out, partial=True, shard=Shard(number, shards) if shards > 1 else None)
        assert len(read_manifest(out / "dev.json")) == 3 and caplog.text.count("left out") == 2


@pytest.mark.thorough
def test_mirrors_in_other_formats_are_taken_and_their_counts_checked(small, tmp_path):
    suffixes = [".mp3", ".wav", ".ogg", ".opus"]
    for index, path in enumerate(sorted(small.rglob("*.flac"))):
        samples, rate = soundfile.read(path)
        suffix = suffixes[index % 4]
        options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
        soundfile.write(path.with_suffix(suffix), samples, rate, **options)
        path.unlink()
    assert prepare(small, tmp_path / "out") == prepare(small, tmp_path / "again")
    utterances = read_manifest(tmp_path / "out" / "train.json")
    assert len(utterances) == 23 and {each.wav.suffix for each in utterances.values()} == {*suffixes}
    next(small.rglob("dev-clean/*/*/*.opus")).unlink()
    with pytest.raises(DataError, match="dev-clean: 4 utterances of 2 speakers, published are 5 of 2"):
        prepare(small, tmp_path / "less")


def test_a_recording_in_two_formats_is_taken_once_with_a_word(small, tmp_path, caplog):
    path = next(small.rglob("dev-clean/*/*/*.flac"))
    soundfile.write(path.with_suffix(".wav"), *soundfile.read(path))
    with pytest.raises(DataError, match="dev-clean: 1 recordings in a second format"):
        prepare(small, tmp_path / "out")
    assert prepare(small, tmp_path / "out", partial=True)["dev"]["utterances"] == 5


def test_options_and_folders_that_cannot_work(small, tmp_path):
    cases = [
        ({"splits": "train-clean-10"}, UsageError, r"--partial takes any folder.*did you mean 'train-clean-100'"),
        ({"splits": "mine", "download": True, "partial": True}, UsageError, "unknown split 'mine'"),
        ({"partial": "yes"}, UsageError, "partial=yes"),
        ({"download": 1}, UsageError, "download=1"),
        ({"splits": "train-clean-360", "partial": True}, DataError, "no folder train-clean-360; .*--download"),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            prepare(small, tmp_path / "out", **options)
    with pytest.raises(UsageError, match="--data-folder"):
        prepare(None, tmp_path / "out")
    (small / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no recording"):
        prepare(small, tmp_path / "out", splits="empty", partial=True)


def test_again_does_nothing_and_other_options_or_texts_prepare_anew(small, tmp_path):
    out = tmp_path / "out"
    first = prepare(small, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare(small, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    transcript = small / "dev-clean" / "100" / "7000" / "100-7000.trans.txt"
    transcript.write_text(transcript.read_text().replace("IT'S", "IT WAS"))
    prepare(small, out)
    assert read_manifest(out / "dev.json")["100-7000-0000"].text == "it was number 100 7000 0000"
    prepare(small, out, splits="dev-clean")
    assert {path.name for path in out.iterdir()} == {"dev.json", "prepared.json"}


def killed_at(replacement: int, small: Path, out: Path) -> None:
    """Prepare, and be killed where the n-th file is about to get its name."""
    replace, calls = os.replace, []

    def replace_or_die(*paths):
        calls.append(paths)
        if len(calls) == replacement:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    os.replace = replace_or_die
    prepare(small, out)


@pytest.mark.parametrize("replacement", [1, 2, 4])
def test_killed_and_run_again_gives_the_right_result(small, tmp_path, replacement):
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare(small, whole)
    child = multiprocessing.get_context("fork").Process(target=killed_at, args=(replacement, small, out))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(list(out.glob("[!.]*.json"))) < 4
    assert any(path.name.startswith(".") for path in out.iterdir())  # half a file was left
    prepare(small, out)
    expected = {path.name: path.read_bytes() for path in whole.glob("*.json")}
    found = {name: path.read_bytes() for name, path in find_manifests(out).items()}
    assert found == {Path(name).stem: content for name, content in expected.items() if name != "prepared.json"}


def test_shards_write_the_bytes_of_an_undivided_run(small, tmp_path):
    for out, shards in (("whole", [None]), ("shards", [Shard(2, 3), Shard(3, 3), Shard(1, 3)])):
        for shard in shards:
            prepare(small, tmp_path / out, splits=["train-clean-100", "dev-clean", "test-other"], shard=shard)
    folders = (tmp_path / "whole", tmp_path / "shards")
    whole, found = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert found == whole and found.keys() == {"train.json", "dev.json", "test.json", "prepared.json"}
    with pytest.raises(UsageError, match="shards do not download"):
        prepare(small, tmp_path / "out", download=True, shard=Shard(1, 2))


def test_shards_together_have_the_published_minutes_or_none_writes_manifests(small, tmp_path):
    path = next((small / "dev-clean").rglob("*.flac"))
    path.write_bytes(flac(16000 * 3000))
    prepare(small, tmp_path / "out", shard=Shard(2, 2))
    for _ in range(2):
        with pytest.raises(DataError, match="dev-clean: .* minutes, published are 2.00"):
            prepare(small, tmp_path / "out", shard=Shard(1, 2))
    assert not list((tmp_path / "out").glob("*.json"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_only(small, tmp_path, monkeypatch, capsys):
    prepare(small, tmp_path / "a")
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    prepare(small, tmp_path / "b")
    assert "Reading the headers of 32 recordings" in terminal.getvalue()


@pytest.mark.slow
def test_the_whole_100_hours_are_prepared_in_time(tmp_path, monkeypatch):
    root, terminal = tmp_path / "LibriSpeech", Terminal()
    for split in librispeech.DEFAULT_SPLITS:
        published = librispeech.PUBLISHED[split]
        write_split(root / split, published.utterances, published.speakers, published.minutes)
    monkeypatch.setattr(sys, "stderr", terminal)
    started = time.monotonic()
    summary = prepare(root, tmp_path / "out")
    assert time.monotonic() - started < 180
    assert summary["train"] == {"utterances": 28539, "hours": pytest.approx(100.59, abs=0.01), "speakers": 251}
    assert (summary["dev"]["utterances"], summary["test"]["utterances"]) == (2703, 2620)
    assert len(read_manifest(tmp_path / "out" / "train.json")) == 28539
    assert "100%" in terminal.getvalue()
    next((root / "train-clean-100").rglob("*.flac")).unlink()
    with pytest.raises(DataError, match="28538 utterances of 251 speakers, published are 28539 of 251"):
        prepare(root, tmp_path / "other")


def test_the_real_sample_is_prepared(shared_data, tmp_path):
    words = ["splits={train: train-clean-5, dev: heldout-dev, test: dev-clean}", "partial=true"]
    summary = corpora.prepare("LibriSpeech", shared_data, tmp_path, **parse_overrides(words))
    assert {name: (each["utterances"], each["speakers"]) for name, each in summary.items()} == {
        "train": (231, 28), "dev": (18, 2), "test": (8, 3)
    }  # fmt: skip
    utterance = read_manifest(tmp_path / "test.json")["84-121550-0000"]
    line = next((shared_data / "LibriSpeech" / "dev-clean" / "84").rglob("*.trans.txt")).read_text().splitlines()[0]
    assert line == f"84-121550-0000 {utterance.text.upper()}"
    assert utterance.duration == len(soundfile.read(utterance.wav)[0]) / 16000


def test_a_speaker_whose_folder_may_not_be_read_is_named_and_not_left_out(small, tmp_path, monkeypatch):
    closed, scandir, listdir = small / "dev-clean" / "101", os.scandir, os.listdir

    def refusing(function):
        def call(path="."):
            if Path(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path)

        return call

    monkeypatch.setattr(os, "scandir", refusing(scandir))
    monkeypatch.setattr(os, "listdir", refusing(listdir))
    with pytest.raises(DataError, match="dev-clean/101: permission denied"):
        prepare(small, tmp_path / "out", partial=True)

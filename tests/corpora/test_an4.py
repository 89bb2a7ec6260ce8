"""AN4: the real corpus by its official lists, and small copies of its layout."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy
import pytest
import soundfile

from snn_asr import corpora
from snn_asr.corpora import an4
from snn_asr.corpora.an4 import clean, development_speakers, find_recordings, prepare
from snn_asr.data.audio import read_audio
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.features import FeatureExtractor
from snn_asr.data.manifest import check_disjoint, find_manifests, read_manifest
from snn_asr.data.tokens import build_tokens
from snn_asr.errors import DataError, UsageError
from snn_asr.sharding import Shard
from snn_asr.training.recipes import recipe

RATE = 16000


def tone(index: int) -> numpy.ndarray:
    """A twentieth of a second that is different for every recording."""
    return (9000 * numpy.sin(numpy.arange(800) * (0.01 + 0.001 * index))).astype(numpy.int16)


def write_corpus(root: Path, suffix: str = ".sph", order: str = ">") -> Path:
    """Twelve training speakers and the test speakers fxyz and mxyz, two recordings each."""
    people = {"train": [f"m{letter}{letter}x" for letter in "abcdefghijkl"], "test": ["fxyz", "mxyz"]}
    (root / "etc").mkdir(parents=True)
    index = 0
    for split, folder in (("train", "an4_clstk"), ("test", "an4test_clstk")):
        places, lines = [], []
        for speaker in people[split]:
            (root / "wav" / folder / speaker).mkdir(parents=True)
            for number in range(2):
                name = f"cen{number}-{speaker}-b"
                path = root / "wav" / folder / speaker / f"{name}{suffix}"
                if suffix == ".raw":
                    path.write_bytes(tone(index).astype(f"{order}i2").tobytes())
                else:
                    soundfile.write(path, tone(index), RATE, format="NIST", subtype="PCM_16")
                places.append(f"{folder}/{speaker}/{name}\n")
                text = f"A B {speaker.upper()}"
                lines.append(f"<s> {text} </s> ({name})\n" if split == "train" else f"{text} ({name})\n")
                index += 1
        (root / "etc" / f"an4_{split}.fileids").write_text("".join(["\n" * (split == "test"), *places]))
        (root / "etc" / f"an4_{split}.transcription").write_text("".join(["\n" * (split == "test"), *lines]))
    return root


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(an4, "OFFICIAL_UTTERANCES", {"train": 24, "test": 4})
    return write_corpus(tmp_path / "an4")


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("an4")
    corpora.prepare("AN4", shared_data / "an4", folder)
    return folder


def test_the_real_corpus_gives_the_official_numbers(real, shared_data):
    manifests = {split: read_manifest(path) for split, path in find_manifests(real).items()}
    assert {split: len(each) for split, each in manifests.items()} == {"train": 948 - 91, "dev": 91, "test": 130}
    speakers = {split: {each.speaker for each in utterances.values()} for split, utterances in manifests.items()}
    assert {split: len(each) for split, each in speakers.items()} == {"train": 74 - 7, "dev": 7, "test": 10}
    assert speakers["dev"] == {"fkdo", "ftmj", "mdcs", "mgah", "mmaf", "mrcb", "mtcv"}
    assert not speakers["train"] & speakers["dev"] and not speakers["test"] & (speakers["train"] | speakers["dev"])
    check_disjoint(manifests)
    every = {each.wav for utterances in manifests.values() for each in utterances.values()}
    assert every == set((shared_data / "an4" / "wav").rglob("*.sph"))


def test_the_real_transcripts_are_those_of_the_lists(real, shared_data):
    lines = [line for path in (shared_data / "an4" / "etc").glob("*.transcription") for line in path.open()]
    listed = dict(reversed(re.fullmatch(r"(?:<s> )?([A-Z ]+?)(?: </s>)? \((\S+)\)\n", line).groups())
                  for line in lines if line.strip())
    utterances = {name: each for path in find_manifests(real).values() for name, each in read_manifest(path).items()}
    texts = {name: each.text.upper() for name, each in utterances.items()}
    assert {name: text for name, text in texts.items() if name in listed} == listed
    assert {name.split("-")[1] for name in texts.keys() - listed.keys()} <= {"fcaw"}
    assert set("".join(texts.values())) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    test = read_manifest(real / "test.json")
    assert sum(len(each.text.split()) for each in test.values()) == 773  # as others count them
    header = utterances["cen4-mmxg-b"].wav.read_bytes()[:1024].decode("latin-1")
    samples = int(re.search(r"sample_count -i (\d+)", header)[1])
    assert utterances["cen4-mmxg-b"].duration == samples / RATE


def test_every_real_transcript_fits_the_recipe(real):
    config = recipe.load("AN4", {})
    utterances = list(read_manifest(real / "train.json").values())
    tokens = build_tokens(config.data.tokens, [each.text for each in utterances])
    assert tokens.size == 1 + 27  # the blank, the letters and the space
    for path in find_manifests(real).values():
        members = list(read_manifest(path).values())
        dataset = SpeechDataset(members, tokens, FeatureExtractor(config.features), config.augmentation.speeds)
        assert dataset.unalignable() == []


def test_splits_of_a_small_copy(small, tmp_path):
    summary = prepare(tmp_path, tmp_path / "out")
    assert summary["train"] == {"utterances": 22, "hours": 0.0, "speakers": 11}
    dev, test = read_manifest(tmp_path / "out" / "dev.json"), read_manifest(tmp_path / "out" / "test.json")
    assert list(dev) == ["cen0-mjjx-b", "cen1-mjjx-b"] and len(test) == 4
    utterance = test["cen1-fxyz-b"]
    assert (utterance.text, utterance.speaker, utterance.duration) == ("a b fxyz", "fxyz", 0.05)
    assert utterance.wav == small / "wav" / "an4test_clstk" / "fxyz" / "cen1-fxyz-b.sph"


def test_the_rule_for_development():
    names = [f"{number:02d}" for number in range(74, 0, -1)]
    assert development_speakers(names + names) == {"10", "20", "30", "40", "50", "60", "70"}
    assert development_speakers(["b", "a"]) == {"b"}


def test_the_rule_for_transcripts():
    assert clean("<s>  RUBOUT ++noise++ G <sil> SIX </s>") == "rubout g six"


@pytest.mark.parametrize("order", [">", "<"])
def test_raw_files_of_either_byte_order_become_flac(small, tmp_path, order):
    raw = write_corpus(tmp_path / "raw", ".raw", order)
    prepare(small, tmp_path / "sph-out")
    leftover = tmp_path / "out" / "audio" / "dev" / ".cen0-mjjx-b-12345678.part.flac"
    leftover.parent.mkdir(parents=True)
    leftover.touch()  # of a preparation that was killed
    prepare(raw, tmp_path / "out")
    for split in ("train", "dev", "test"):
        converted, original = (read_manifest(tmp_path / out / f"{split}.json") for out in ("out", "sph-out"))
        assert list(converted) == list(original)
        for name, utterance in converted.items():
            assert utterance.wav == tmp_path / "out" / "audio" / split / f"{name}.flac"
            assert read_audio(utterance.wav).equal(read_audio(original[name].wav))
            assert utterance.duration == original[name].duration
    assert not leftover.exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    prepare(raw, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_shards_write_the_bytes_of_an_undivided_run(small, tmp_path):
    raw, files = write_corpus(tmp_path / "raw", ".raw"), {}
    prepare(raw, tmp_path / "out")
    for number in (2, 3, 1):
        prepare(raw, tmp_path / "shards", shard=Shard(number, 3))
    for folder in ("out", "shards"):
        paths = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
        files[folder] = {path.relative_to(tmp_path / folder): path.read_bytes() for path in paths}
    assert files["out"] == files["shards"] and len(files["out"]) == 3 + 1 + 28


def test_raw_files_that_hold_no_samples(small, tmp_path):
    raw = write_corpus(tmp_path / "raw", ".raw")
    next(raw.rglob("cen0-maax-b.raw")).write_bytes(b"odd")
    with pytest.raises(DataError, match="cen0-maax-b.raw: 3 bytes are no recording"):
        prepare(raw, tmp_path / "out")


def test_what_is_not_as_published_is_one_error_and_partial_takes_it(small, tmp_path):
    next(small.rglob("cen0-maax-b.sph")).unlink()
    transcript = small / "etc" / "an4_test.transcription"
    transcript.write_text("".join(transcript.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError) as caught:
        prepare(small, tmp_path / "out")
    assert str(caught.value) == (
        f"{small}: not as published: train: 1 utterances without recording (cen0-maax-b); "
        "train: 23 utterances, published are 24; test: 1 utterances without transcript (cen1-mxyz-b); "
        "test: 3 utterances, published are 4; restore the corpus, or take it as it is with 'snn-asr prepare --partial'"
    )
    summary = prepare(small, tmp_path / "out", partial=True)
    assert [each["utterances"] for each in summary.values()] == [21, 2, 3]


def test_a_test_list_without_fcaw_is_completed_where_the_recordings_are(small, monkeypatch, caplog):
    folder = small / "wav" / "an4test_clstk" / "fcaw"
    folder.mkdir()
    for name in ("an409-fcaw-b", "cen1-fcaw-b"):
        soundfile.write(folder / f"{name}.sph", tone(0), RATE, format="NIST", subtype="PCM_16")
    monkeypatch.setattr(an4, "OFFICIAL_UTTERANCES", {"train": 24, "test": 6})
    texts = {each.id: each.text for each in find_recordings(small)["test"]}
    assert (len(texts), texts["an409-fcaw-b"], texts["cen1-fcaw-b"]) == (6, "go", "w o o d")
    assert "leaves out the speaker fcaw" in caplog.text
    for suffix, line in (("fileids", "an4test_clstk/fcaw/{}\n"), ("transcription", "OTHER ({})\n")):
        with open(small / "etc" / f"an4_test.{suffix}", "a") as file:
            file.writelines(line.format(name) for name in ("an409-fcaw-b", "cen1-fcaw-b"))
    assert [each.text for each in find_recordings(small)["test"]].count("other") == 2  # the list goes first


def test_folders_and_options_that_cannot_work(small, tmp_path):
    with pytest.raises(UsageError, match="--data-folder"):
        prepare(None, tmp_path / "out")
    with pytest.raises(UsageError, match="partial=1"):
        prepare(small, tmp_path / "out", partial=1)
    with pytest.raises(DataError, match="an4_train.fileids: cannot read .*the folder an4"):
        prepare(tmp_path / "absent", tmp_path / "out")
    for path in small.rglob("*xyz-b.sph"):
        path.unlink()
    with pytest.raises(DataError, match="no recordings for test"):
        prepare(small, tmp_path / "out", partial=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["an4_train.fileids", "an4_test.transcription"])
def test_a_pipe_in_the_place_of_a_list_is_named_and_not_waited_for(name, small, tmp_path):
    path = next(small.rglob(name))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=f"{name}: .*no regular file"):
        prepare(small, tmp_path / "out")

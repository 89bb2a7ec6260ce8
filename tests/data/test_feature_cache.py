"""Frames kept on disk: the same bits as computed ones, made once, whole or not at all, and anew where audio changed."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_layering import graph
from tones import RATE_HZ, speak

from snn_asr.data import feature_cache
from snn_asr.data.audio import read_audio, write_audio
from snn_asr.data.feature_cache import FeatureCache
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor
from snn_asr.errors import DataError, UsageError

SETTINGS = FeatureSettings(sample_rate=RATE_HZ, mels=10)


class Source:
    """Ten recordings, the second too short for a frame; counts how often the frames of each are computed."""

    def __init__(self, folder: Path, settings: FeatureSettings = SETTINGS) -> None:
        self.paths = [folder / f"{index}.wav" for index in range(10)]
        for index, path in enumerate(self.paths):
            write_audio(path, torch.zeros(9) if index == 1 else speak(["low"] * (1 + index % 3), seed=index), RATE_HZ)
        self.settings, self.extractor, self.computed = settings, FeatureExtractor(settings), Counter()

    def frames(self, index: int) -> torch.Tensor:
        return self.extractor.plain_frames(read_audio(self.paths[index], RATE_HZ))

    def compute(self, index: int) -> torch.Tensor:
        self.computed[index] += 1
        return self.frames(index)

    def open(self, cache: FeatureCache, speed: float = 1.0, compute=None):
        counts = [len(self.frames(index)) for index in range(len(self.paths))]
        return cache.open(self.paths, self.settings, speed, counts, compute or self.compute)

    def assert_equal(self, cached) -> None:
        for index in range(len(self.paths)):
            assert torch.equal(cached[index], self.frames(index)) and cached[index].dtype == torch.float32


@pytest.fixture
def source(tmp_path) -> Source:
    return Source(tmp_path / "audio")


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


@pytest.mark.parametrize("shard_bytes", [1 << 20, 5000, 1])
def test_kept_frames_are_the_computed_ones_and_computed_once(shard_bytes, source, tmp_path):
    cache = FeatureCache(tmp_path / "features", shard_bytes)
    source.assert_equal(source.open(cache))
    source.assert_equal(source.open(cache))
    assert source.computed == Counter(range(10))
    sizes = [source.frames(index).numel() * 4 for index in range(10)]
    if shard_bytes == 1:  # the utterance without a frame is with the one after it
        assert len(shards_of(tmp_path)) == 9
    else:  # an utterance is never divided
        assert sum(sizes) / (shard_bytes + max(sizes)) <= len(shards_of(tmp_path)) <= sum(sizes) / shard_bytes + 1
    assert not list((tmp_path / "features").rglob(".*"))


def test_frames_are_kept_in_a_folder_whose_name_is_no_utf_8(source, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "snn_asr")  # pytest cannot hand on what other lines say, which name the folder
    folder = tmp_path / os.fsdecode(b"\xe9")
    for _ in range(2):
        source.assert_equal(source.open(FeatureCache(folder)))
    assert set(source.computed.values()) == {1} and not any(each.levelname == "WARNING" for each in caplog.records)


def test_runs_at_once_share_the_work(source, tmp_path):
    """Each of four runs needs all frames; none is computed twice, and all have all."""
    start, results = threading.Barrier(4), []

    def run() -> None:
        cache = FeatureCache(tmp_path / "features", shard_bytes=1)
        start.wait()
        results.append(source.open(cache))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert source.computed == Counter(range(10))
    assert len(results) == 4
    for each in results:
        source.assert_equal(each)
    assert not list((tmp_path / "features").rglob(".*"))


def test_a_shard_that_another_run_is_writing_is_waited_for(source, tmp_path):
    cache = FeatureCache(tmp_path / "features")
    begun, go_on = threading.Event(), threading.Event()

    def slow(index: int) -> torch.Tensor:
        begun.set()
        assert go_on.wait(10)
        return source.frames(index)

    def late() -> None:
        results.append(source.open(cache))

    results: list = []
    first = threading.Thread(target=source.open, args=(cache, 1.0, slow))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=late)
    second.start()
    second.join(0.2)
    assert second.is_alive() and not shards_of(tmp_path)
    go_on.set()
    first.join()
    second.join()
    assert not source.computed
    source.assert_equal(results[0])


def test_an_interrupted_writing_leaves_whole_shards_and_the_rest_is_done_later(source, tmp_path):
    cache = FeatureCache(tmp_path / "features", shard_bytes=1)

    def interrupted(index: int) -> torch.Tensor:
        if index == 2:  # the second of its shard
            raise KeyboardInterrupt
        return source.frames(index)

    with pytest.raises(KeyboardInterrupt):
        source.open(cache, compute=interrupted)
    done = shards_of(tmp_path)
    assert len(done) == 1 and not list((tmp_path / "features").rglob(".*"))
    # What a killed process may leave: its lock, which no one holds, and a temporary file.
    source.open(FeatureCache(tmp_path / "other", shard_bytes=1))
    left = next(path.stem for path in shards_of(tmp_path / "other") if path.name != done[0].name)
    (done[0].parent / f".{left}.lock").write_text("process 1 on another-host")
    (done[0].parent / f".{left}-abc.safetensors").write_bytes(b"half")
    source.computed.clear()
    source.assert_equal(source.open(cache))
    assert source.computed == Counter(range(1, 10))
    assert len(shards_of(tmp_path / "features")) == 9 and not list((tmp_path / "features").rglob(".*"))


@pytest.mark.parametrize("kept_bytes", [0, 7, 300, -1])
def test_a_damaged_shard_is_told_and_written_anew(kept_bytes, source, tmp_path, caplog):
    cache = FeatureCache(tmp_path / "features")
    source.open(cache)
    shard = shards_of(tmp_path)[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:kept_bytes])
    source.assert_equal(source.open(cache))
    assert shard.read_bytes() == whole
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [str(shard) in each for each in warnings] == [True]


@pytest.mark.parametrize("position", [9, 60, -1, -1000])
def test_a_shard_with_a_turned_bit_is_told_and_written_anew(position, source, tmp_path, caplog):
    cache = FeatureCache(tmp_path / "features")
    source.open(cache)
    shard = shards_of(tmp_path)[0]
    whole = shard.read_bytes()
    content = bytearray(whole)
    content[position] ^= 0x20
    shard.write_bytes(content)
    source.assert_equal(source.open(cache))
    assert shard.read_bytes() == whole and str(shard) in caplog.text and "damaged" in caplog.text


def test_a_disk_that_runs_full_while_frames_are_written_costs_a_warning(source, tmp_path, caplog, monkeypatch):
    def full(path, content):
        raise DataError("cannot write (no space left on device)", path)

    monkeypatch.setattr(feature_cache, "write_bytes", full)
    assert source.open(FeatureCache(tmp_path / "features")) is None
    assert "no space left" in caplog.text and not list((tmp_path / "features").rglob(".*"))


def test_only_the_shard_of_a_changed_recording_is_made_anew(source, tmp_path):
    cache = FeatureCache(tmp_path / "features", shard_bytes=1)
    before = source.open(cache)
    source.computed.clear()
    write_audio(source.paths[4], speak(["high"], seed=1), RATE_HZ)
    source.assert_equal(source.open(cache))
    assert source.computed == {4: 1}
    assert not torch.equal(before[4], source.frames(4))
    source.computed.clear()
    os.utime(source.paths[5], ns=(1, 1))  # same size and content, another time
    source.assert_equal(source.open(cache))
    assert source.computed == {5: 1}


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"mels": 12}, True), ({"deltas": True}, True), ({"hop_milliseconds": 12}, True),
        ({"segments": 4, "stack": 1}, True), ({"stack": 1}, False), ({"normalization": "speaker"}, False),
    ],
)
def test_other_settings_have_frames_of_their_own_unless_these_come_later(change, anew, source, tmp_path):
    cache = FeatureCache(tmp_path / "features")
    source.open(cache)
    source.computed.clear()
    source.settings = replace(SETTINGS, **change)
    source.extractor = FeatureExtractor(source.settings)
    source.assert_equal(source.open(cache))
    assert bool(source.computed) == anew


def test_other_speeds_and_other_code_have_frames_of_their_own(source, tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path / "features")
    for speed, shards in ((1.0, 1), (0.9, 2), (1.0, 2)):
        source.open(cache, speed)
        assert len(shards_of(tmp_path)) == shards
    other_code = tmp_path / "features.py"
    other_code.write_text("# another way to compute them")
    monkeypatch.setattr(feature_cache.features, "__file__", str(other_code))
    source.open(cache)
    assert len(shards_of(tmp_path)) == 3


def test_frames_are_known_by_all_the_code_that_makes_them():
    code = {module.__name__ for module in feature_cache.CODE}
    # Settings are in the folder's name by their values; normalisation comes after the frames that are kept.
    others = {"snn_asr.data.feature_settings", "snn_asr.data.normalization"}
    imported = {each for name in code for each in graph()[name] if each.startswith("snn_asr.data.")}
    assert imported - others <= code


def test_a_folder_that_cannot_be_written_costs_a_warning_not_the_run(source, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    assert source.open(FeatureCache(tmp_path / "file")) is None
    assert len(caplog.records) == 1 and "feature_cache=" in caplog.text and str(tmp_path / "file") in caplog.text


def test_a_full_disk_is_noticed_before_anything_is_computed(source, tmp_path, caplog, monkeypatch):
    usage = feature_cache.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda folder: usage)
    assert source.open(FeatureCache(tmp_path / "features")) is None
    assert "0.0 GB free" in caplog.text and not source.computed


def test_a_recording_that_cannot_be_read_is_named_as_without_a_cache(source, tmp_path):
    counts = [100] * 10
    source.paths[3].unlink()
    with pytest.raises(DataError, match=r"3\.wav: no such audio file"):
        FeatureCache(tmp_path / "features").open(source.paths, SETTINGS, 1.0, counts, source.compute)
    assert not shards_of(tmp_path)


@pytest.mark.thorough
def test_training_gives_the_same_bits_with_and_without_kept_frames(speechbrain, tones, tone_recipe, tmp_path):
    from snn_asr.training.run import train

    folder, results = tmp_path / "features", []
    for name, where in (("computed", None), ("kept", str(folder))):
        changes = {"encoder": "gru", "epochs": 2, "hidden_size": 8, "batch_frames": 1000, "feature_cache": where}
        train(_with_cache_key(tone_recipe, tmp_path), tones, tmp_path / name, device="cpu", overrides=changes)
        files = ("model/weights.safetensors", "model/normalization.json", "test.json", "run.json")
        results.append([(tmp_path / name / each).read_bytes() for each in files])
        assert bool(shards_of(folder)) == (where is not None)
    assert results[0] == results[1]
    assert len(shards_of(folder)) == 3 + 2  # training data at three speeds, development and test data at their own


def test_frames_are_kept_beside_the_manifests_unless_a_recipe_says_otherwise(tone_recipe, tmp_path):
    from snn_asr.training import data_sets
    from snn_asr.training.recipes import recipe
    from snn_asr.training.recipes.config import Config

    assert recipe.load(tone_recipe, {"encoder": "gru"}).data.feature_cache == "auto"
    caches = {
        value: data_sets.feature_cache_of(Config.read({"feature_cache": value}), tmp_path)
        for value in ("auto", None, "none")
    }
    cache = caches["auto"]
    assert cache is not None and cache.folder == tmp_path / "features"
    assert caches[None] is caches["none"] is None
    for wrong in (3, "", True):
        with pytest.raises(UsageError, match="feature_cache: .* must be auto, none or a folder"):
            recipe.load(_with_cache_key(tone_recipe, tmp_path), {"encoder": "gru", "feature_cache": wrong})


def _with_cache_key(recipe: Path, folder: Path) -> Path:
    """The recipe with the key that an override needs; its encoders beside it."""
    if not (folder / "Tones").exists():
        (folder / "encoders").symlink_to(recipe.parents[1] / "encoders")
        (folder / "Tones").mkdir()
        text = recipe.read_text() + "feature_cache: auto\n"
        (folder / "Tones" / "train.yaml").write_text(text)
    return folder / "Tones" / "train.yaml"


def test_a_shard_in_the_place_of_another_is_told_and_written_anew(source, tmp_path, caplog):
    cache = FeatureCache(tmp_path / "features", shard_bytes=1)
    source.open(cache)
    one, other = shards_of(tmp_path)[:2]
    whole = other.read_bytes()
    other.write_bytes(one.read_bytes())
    source.assert_equal(source.open(cache))
    assert other.read_bytes() == whole and f"{other}: damaged" in caplog.text


def test_a_recording_with_the_size_and_time_of_the_one_before_is_computed(source, tmp_path):
    cache = FeatureCache(tmp_path / "features", shard_bytes=1)
    source.open(cache)
    path, status = source.paths[4], source.paths[4].stat()
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    source.assert_equal(source.open(cache))

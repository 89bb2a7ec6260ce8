"""Connected digits from isolated ones, and the once-only preparation all corpora share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from snn_asr import corpora
from snn_asr.corpora.fsdd import WORDS, find_clips, prepare
from snn_asr.corpora.prepared_folder import PreparedFolder
from snn_asr.data.audio import read_audio, write_audio
from snn_asr.data.manifest import check_disjoint, find_manifests, read_manifest
from snn_asr.errors import DataError, UsageError
from snn_asr.files import write_json
from snn_asr.sharding import Shard

RATE = 8000
COUNTS = {"train": 12, "dev": 5, "test": 7}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Clips of 2 speakers; each holds one constant level of its own, so that it can be found again in a mixture."""
    folder = tmp_path_factory.mktemp("fsdd") / "recordings"
    level = 1000
    for speaker in ("ann", "ben"):
        for digit in range(10):
            for index in (0, 4, 5, 9, 10, 11):
                write_audio(folder / f"{digit}_{speaker}_{index}.wav", torch.full((400,), level / 32768), RATE)
                level += 10
    (folder / "notes.wav").touch()
    return folder.parent


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(source, folder, **COUNTS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pieces(samples: torch.Tensor) -> tuple[list[int], list[int]]:
    """Levels of the clips in a mixture, and the lengths of the pauses around them."""
    loud = samples > 900 / 32768
    lengths = torch.unique_consecutive(loud, return_counts=True)[1].tolist()
    runs = samples.split(lengths)
    assert not loud[0] and not loud[-1]
    assert all(run.unique().numel() == 1 and len(run) == 400 for run in runs[1::2])
    return [round(run[0].item() * 32768) for run in runs[1::2]], lengths[::2]


def test_utterances_are_clips_of_one_speaker_and_split_apart_by_pauses(source, prepared):
    clip_of = {round(read_audio(clip.path, RATE)[0].item() * 32768): clip for clip in find_clips(source)}
    heard: dict[str, set[int]] = {}
    for split, count in COUNTS.items():
        utterances = read_manifest(prepared / f"{split}.json").values()
        assert len(utterances) == count
        for utterance in utterances:
            samples = read_audio(utterance.wav, RATE)
            levels, pauses = pieces(samples)
            assert 3 <= len(levels) <= 7 and len(pauses) == len(levels) + 1
            assert all(0.05 * RATE - 1 <= pause <= 0.2 * RATE for pause in pauses)
            assert {clip_of[level].speaker for level in levels} == {utterance.speaker}
            assert {clip_of[level].split for level in levels} == {split}
            assert utterance.text == " ".join(WORDS[clip_of[level].digit] for level in levels)
            assert utterance.duration == len(samples) / RATE
            heard.setdefault(split, set()).update(levels)
    assert not heard["train"] & heard["dev"] and not heard["test"] & (heard["train"] | heard["dev"])


def test_pauses_are_faint_noise_never_digital_silence(prepared):
    utterance = next(iter(read_manifest(prepared / "train.json").values()))
    pause = read_audio(utterance.wav, RATE)[: int(0.05 * RATE)]
    assert 0 < pause.std() < 1e-3 and pause.unique().numel() > 5


def test_isolated_manifests_point_at_the_clips_themselves(source, prepared):
    manifests = {split: read_manifest(path) for split, path in find_manifests(prepared).items()}
    isolated = {split: utterances for split, utterances in manifests.items() if split.startswith("isolated_")}
    assert {split: len(utterances) for split, utterances in isolated.items()} == dict.fromkeys(isolated, 40)
    indices = {split: {int(each.wav.stem.split("_")[2]) for each in isolated[split].values()} for split in isolated}
    assert indices == {"isolated_dev": {5, 9}, "isolated_test": {0, 4}, "isolated_train": {10, 11}}
    example = isolated["isolated_dev"]["7_ben_9"]
    assert (example.wav, example.text) == (source / "recordings" / "7_ben_9.wav", "seven")
    assert (example.speaker, example.duration) == ("ben", 0.05)
    check_disjoint(manifests)


def test_same_seed_same_bytes_and_a_split_does_not_depend_on_the_others(source, prepared, tmp_path):
    prepare(source / "recordings", tmp_path / "same", **COUNTS)
    assert contents(tmp_path / "same") == contents(prepared)
    prepare(source, tmp_path / "fewer", train=2, dev=5, test=3)
    fewer, whole = contents(tmp_path / "fewer"), contents(prepared)
    assert fewer["dev.json"] == whole["dev.json"]
    audio = [name for name in fewer if name.endswith(".flac")]
    assert len(audio) == 10 and all(fewer[name] == whole[name] for name in audio)
    prepare(source, tmp_path / "other", seed=1, **COUNTS)
    assert contents(tmp_path / "other")["dev.json"] != whole["dev.json"]


def test_shards_write_the_bytes_of_an_undivided_run(source, prepared, tmp_path):
    """Utterances are drawn one after the other, yet each may be made elsewhere."""
    *others, last = (prepare(source, tmp_path, **COUNTS, shard=Shard(number, 3)) for number in (3, 1, 2))
    assert [each["shard"] for each in others] == ["3/3", "1/3"] and last == prepare(source, prepared, **COUNTS)
    assert contents(tmp_path) == contents(prepared)


def test_preparing_again_does_nothing_and_other_options_prepare_anew(source, tmp_path):
    def times() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    summary = prepare(source, tmp_path, train=3, dev=1, test=1)
    assert summary["train"]["utterances"] == 3 and summary["isolated_train"] == {"utterances": 40, "hours": 0.001}
    before = times()
    assert prepare(source, tmp_path, train=3, dev=1, test=1) == summary
    assert times() == before
    prepare(source, tmp_path, train=1, dev=1, test=1)
    assert len(list((tmp_path / "audio" / "train").iterdir())) == 1  # what the first preparation wrote is gone
    next((tmp_path / "audio" / "train").iterdir()).unlink()
    prepare(source, tmp_path, train=1, dev=1, test=1)
    assert len(list((tmp_path / "audio" / "train").iterdir())) == 1  # a lost file is made again


def test_folders_without_recordings_and_options_that_cannot_work(source, tmp_path):
    with pytest.raises(DataError, match=r"no recordings .* for train, dev, test"):
        prepare(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="absent: no recordings"):
        prepare(tmp_path / "absent", tmp_path / "out")
    (tmp_path / "0_ann_3.wav").touch()
    with pytest.raises(DataError, match=r"no recordings .* for train, dev;"):
        prepare(tmp_path, tmp_path / "out")
    for options in ({"train": 0}, {"dev": "5"}, {"seed": -1}, {"test": 1.5}):
        with pytest.raises(UsageError, match="must be a whole number"):
            prepare(source, tmp_path / "out", **options)
    with pytest.raises(UsageError, match="--data-folder"):
        prepare(None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_corpora_are_found_on_disk_and_called_by_name(source, tmp_path):
    assert set(corpora.discover()) == {"an4", "demo", "fsdd", "librispeech", "timit"}
    assert corpora.discover()["fsdd"] == "snn_asr.corpora.fsdd"
    assert corpora.prepare("FSDD", source, tmp_path, train=1, dev=1, test=1)["dev"]["utterances"] == 1
    with pytest.raises(UsageError, match="unknown corpus 'fsd'; did you mean 'fsdd'"):
        corpora.prepare("fsd", source, tmp_path)
    with pytest.raises(UsageError, match="corpus fsdd: unknown option 'trains'; did you mean 'train'"):
        corpora.prepare("fsdd", source, tmp_path, trains=1)
    with pytest.raises(UsageError, match="choose from: dev, seed, test, train"):
        corpora.prepare("fsdd", source, tmp_path, x=1)
    with pytest.raises(UsageError, match="data_folder"):  # as in 'snn-asr prepare fsdd data_folder=elsewhere'
        corpora.prepare("fsdd", source, tmp_path, **{"data_folder": "elsewhere"})


def test_a_preparation_is_complete_only_with_its_options_and_files(tmp_path):
    options = {"seed": 0, "speeds": (1, 2)}
    folder = PreparedFolder(tmp_path, options, ["train"])
    assert not folder.finished
    sound = tmp_path / "audio" / "a.flac"
    sound.parent.mkdir()
    sound.write_text("sound")
    folder.write({"train": []}, [sound])
    (tmp_path / "notes.txt").write_text("not part of it")
    (tmp_path / "own.json").write_text("written later by the user")
    assert folder.finished and PreparedFolder(tmp_path, {"speeds": [1, 2], "seed": 0}).finished
    assert not PreparedFolder(tmp_path, options | {"seed": 1}).finished
    sound.write_text("other sound")
    assert not folder.finished
    sound.write_text("sound")
    halves = (".train-1234abcd.part.json", ".prepared-1234abcd.part.json", "audio/.a-1234abcd.part.flac")
    for name in (*halves, ".own-settings.json"):
        (tmp_path / name).touch()  # halves of files, and one that only looks like it
    for _ in range(2):
        folder.set_aside()
        folder.tidy()
        left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
        assert left == [".own-settings.json", "notes.txt", "own.json"]
    (tmp_path / "prepared.json").write_text("damaged")
    assert not folder.finished


def test_real_recordings_are_split_as_published(shared_data):
    clips = find_clips(shared_data / "fsdd")
    counts = {split: sum(clip.split == split for clip in clips) for split in ("train", "dev", "test")}
    assert counts == {"train": 2400, "dev": 300, "test": 300}
    assert len({clip.speaker for clip in clips}) == 6 and {clip.digit for clip in clips} == set(range(10))


@pytest.mark.parametrize("name", ["../victim.flac", "audio/../../victim.flac", "/victim.flac"])
def test_a_mark_that_names_files_elsewhere_is_nobodys(name, tmp_path):
    victim = tmp_path / "victim.flac"
    victim.write_text("sound")
    folder = tmp_path / "prepared"
    folder.mkdir()
    listed = str(victim) if name.startswith("/") else name
    write_json(folder / "prepared.json", {"options": {"x": 1}, "files": {listed: 5}, "manifests": {}})
    prepared = PreparedFolder(folder, {"y": 2}, ["train"])
    prepared.set_aside()
    assert victim.exists() and (folder / "prepared.json").exists()

"""The demo corpus: its grammar and voices, its two layouts, true phone ends, the same bytes every time."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.corpora.demo import corpus as demo
from snn_asr.corpora.demo import espeak
from snn_asr.corpora.demo.espeak import Phoneme, Speech
from snn_asr.corpora.demo.phones import PhoneSegment, fit, segments, word_bounds
from snn_asr.corpora.demo.room import SIGNAL_TO_NOISE_DECIBELS, degrade, reverberate
from snn_asr.corpora.demo.sentences import KINDS, draw, vocabulary
from snn_asr.corpora.demo.voices import SPLITS, speakers
from snn_asr.corpora.prepared_folder import SHARDS
from snn_asr.data.manifest import Utterance, read_manifest
from snn_asr.data.phone_sets import phone_folding
from snn_asr.errors import DataError, UsageError
from snn_asr.sharding import Shard

needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="the extra 'demo' is not installed"
)
SMALL = {"seed": 5, "train": 8, "dev": 3, "test": 4}
CLOSURES = {"bcl", "dcl", "gcl", "pcl", "tcl", "kcl"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.prepare(None, folder, **SMALL)
    return folder


def read_rows(path: Path) -> list[tuple[int, int, str]]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(int(start), int(end), label) for start, end, label in rows]


def timit_stems(folder: Path) -> list[Path]:
    return sorted(path.with_suffix("") for path in (folder / "audio" / "timit").rglob("*.WAV"))


# Grammar and voices


def test_default_training_set_says_every_word_often() -> None:
    uses = Counter(word for item in demo.plan("train", 1400, 0) for word in item.sentence.words)
    assert set(uses) == vocabulary()
    assert 80 <= len(uses) <= 120
    assert min(uses.values()) >= 30


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_splits_share_words_never_sentences(seed: int) -> None:
    sizes = {"train": 100, "dev": 40, "test": 40}
    drawn = {split: {item.sentence.text for item in demo.plan(split, count, seed)} for split, count in sizes.items()}
    for one, other in combinations(drawn.values(), 2):
        assert not one & other


def test_sentences_are_of_three_kinds_and_two_to_eight_words() -> None:
    sentences = draw(random.Random(1), 300, "train")
    assert {sentence.kind for sentence in sentences} == set(KINDS)
    assert {len(sentence.words) for sentence in sentences} <= set(range(2, 9))
    assert all(set(sentence.words) <= vocabulary() for sentence in sentences)


def test_speakers_are_disjoint_and_test_accents_are_trained() -> None:
    voices = {split: speakers(split) for split in SPLITS}
    assert len(voices["train"]) >= 12 and len(voices["dev"]) >= 3 and len(voices["test"]) >= 4
    everyone = [speaker for split in SPLITS for speaker in voices[split]]
    for key in ("number", "code"):
        assert len({getattr(speaker, key) for speaker in everyone}) == len(everyone)
    assert len({(speaker.voice, speaker.source_rate) for speaker in everyone}) == len(everyone)
    trained_variants = {speaker.variant for speaker in voices["train"]}
    for speaker in (*voices["dev"], *voices["test"]):
        assert speaker.accent in {other.accent for other in voices["train"]}
        assert speaker.variant not in trained_variants


@needs_espeak
def test_variants_neither_echo_nor_breathe() -> None:
    """An echo hides closures; with breath espeak-ng's samples differ from process to process."""
    folder = espeak.installation().data / "voices" / "!v"
    for variant in {speaker.variant for split in SPLITS for speaker in speakers(split)} - {""}:
        settings_of_variant = {line.split()[0] for line in (folder / variant).read_text().splitlines() if line.strip()}
        assert not settings_of_variant & {"echo", "breath"}, variant


# Phones


def test_closures_are_the_silence_before_stops() -> None:
    """At 1000 Hz: 'ten' from sample 50; silence from 150 to 190 before 'd'; 30 samples of it before a vowel."""
    samples = numpy.full(400, 1000, dtype=numpy.int16)
    samples[:50] = samples[150:190] = samples[270:300] = 0
    names = [("t", 0, 50), ("E", 0, 60), ("n", 0, 100), ("d", 1, 190), ("A@", 1, 200), ("I", 2, 300)]
    speech = Speech(samples, 1000, tuple(Phoneme(*each) for each in names), 390)
    found = segments(speech, "en-us")
    assert [(mark.label, mark.start, mark.end, mark.word) for mark in found] == [
        ("t", 50, 60, 0), ("eh", 60, 100, 0), ("n", 100, 150, 0), ("dcl", 150, 190, 1), ("d", 190, 200, 1),
        ("aa", 200, 235, 1), ("r", 235, 270, 1), ("epi", 270, 300, None), ("ih", 300, 390, 2),
    ]  # fmt: skip
    assert word_bounds(found, ("ten", "are", "in")) == [(50, 150, "ten"), (150, 270, "are"), (300, 390, "in")]
    assert [mark.label for mark in segments(speech, "gmw/en")][5:7] == ["aa", "epi"]  # no r sounded there


def test_unknown_phoneme_is_refused() -> None:
    speech = Speech(numpy.ones(10, dtype=numpy.int16), 1000, (Phoneme("Q^", 0, 0),), 10)
    with pytest.raises(DataError, match=r"Q\^"):
        segments(speech, "en-us")


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=30),
    factor=st.sampled_from([16 / 21, 16 / 23, 320 / 441]),
    origin=st.integers(0, 2000),
)
def test_fitted_segments_are_ordered_without_gaps(lengths: list[int], factor: float, origin: int) -> None:
    bounds = numpy.cumsum([origin, *lengths]).tolist()
    at_source = [PhoneSegment("aa", *pair, 0) for pair in zip(bounds[:-1], bounds[1:], strict=True)]
    total = 1000 + round(sum(lengths) * factor) + 700
    marks = fit(at_source, factor, 1000, total)
    assert marks[0] == PhoneSegment("h#", 0, 1000, None) and marks[-1].label == "h#" and marks[-1].end == total
    assert all(before.end == after.start for before, after in zip(marks[:-1], marks[1:], strict=True))
    assert all(mark.end > mark.start for mark in marks)


@needs_espeak
def test_phone_ends_lie_where_the_sound_changes() -> None:
    """Without noise: h# and closures are silent, and every stop after a closure bursts at its first sample."""
    bursts = 0
    for item in (*demo.plan("train", 8, 3), *demo.plan("test", 4, 3)):
        samples, marks = demo.render(item, 3)
        spoken = samples[marks[0].end : marks[-1].start]
        loudness = numpy.sqrt(numpy.mean(spoken**2))
        # The end is rounded, so one sample more may sound.
        assert not samples[: marks[0].end].any() and not samples[marks[-1].start + 1 :].any()
        for before, mark in zip(marks[:-1], marks[1:], strict=True):
            if before.label in CLOSURES:
                closure, burst = samples[before.start : before.end], samples[mark.start : mark.end]
                # The resampling filter rings some samples past the edges.
                assert numpy.sqrt(numpy.mean(closure[8:-8] ** 2)) < 0.003 * loudness
                assert numpy.abs(burst[:48]).max() > 0.01 * loudness
                bursts += 1
            if mark.label in {"iy", "ey", "ay", "ow"}:
                vowel = samples[mark.start : mark.end]
                assert numpy.sqrt(numpy.mean(vowel**2)) > 0.2 * loudness
    assert bursts > 10


# Noise and rooms


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_noise_and_room_do_not_move_speech(seed: int) -> None:
    """A click train keeps its place and its distance from the noise stays within the bounds."""
    clean = numpy.zeros(16000)
    clicks = numpy.arange(4000, 12000, 800)
    clean[clicks] = 0.5
    heard = degrade(clean, 16000, numpy.random.default_rng(seed))
    assert heard.shape == clean.shape and numpy.abs(heard).max() <= 0.98
    spectrum = numpy.fft.rfft(heard, 32768) * numpy.fft.rfft(clean, 32768).conj()
    assert numpy.fft.irfft(spectrum).argmax() == 0
    noise = heard[:3999]  # before the first click there is noise alone
    gain = heard[clicks].mean() / 0.5
    ratio = 20 * numpy.log10(gain * 0.5 / numpy.sqrt(numpy.mean(noise**2)))
    low, high = SIGNAL_TO_NOISE_DECIBELS
    assert low - 6 < ratio < high + 12  # a babble swells: part of it may be louder or softer than the whole


def test_reverberation_starts_with_the_direct_sound() -> None:
    click = numpy.zeros(8000)
    click[1000] = 1.0
    heard = reverberate(click, 16000, numpy.random.default_rng(0))
    assert numpy.abs(heard[:1000]).max() < 1e-12
    assert heard[1000] == pytest.approx(1.0)
    assert numpy.abs(heard[1001:1048]).max() < 1e-12  # no reflection within 3 ms
    early, late = (numpy.mean(heard[start : start + 800] ** 2) for start in (1100, 2500))
    assert early > 4 * late > 0


# The written corpus


@pytest.mark.thorough
@needs_espeak
def test_same_seed_same_bytes(corpus: Path, tmp_path: Path) -> None:
    demo.prepare(None, tmp_path / "again", **SMALL)
    first = {path.relative_to(corpus): path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    again = tmp_path / "again"
    second = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.thorough
@needs_espeak
def test_shards_write_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    stale = tmp_path / "audio" / "librispeech" / "dev-demo" / speakers("dev")[0].number / "1" / ".half-12345678.flac"
    stale.parent.mkdir(parents=True)
    stale.touch()
    for number in (2, 1):
        summary = demo.prepare(None, tmp_path, **SMALL, shard=Shard(number, 2))
    assert summary == demo.prepare(None, corpus, **SMALL)
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (corpus, tmp_path)
    )
    assert [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)] == []


@needs_espeak
def test_seeds_give_different_corpora(corpus: Path) -> None:
    one, other = (demo.render(demo.plan("train", 1, seed)[0], seed)[0] for seed in (5, 6))
    assert len(one) != len(other) or not numpy.array_equal(one, other)


@needs_espeak
def test_manifests(corpus: Path) -> None:
    labels = set(phone_folding("61"))
    manifests = {split: read_manifest(corpus / f"{split}.json") for split in SPLITS}
    assert {split: len(entries) for split, entries in manifests.items()} == {"train": 8, "dev": 3, "test": 4}
    for split, entries in manifests.items():
        assert {entry.speaker for entry in entries.values()} <= {speaker.number for speaker in speakers(split)}
        for entry in entries.values():
            check_manifest_entry(entry, labels)


def check_manifest_entry(entry: Utterance, labels: set[str]) -> None:
    info = soundfile.info(entry.wav)
    assert (info.samplerate, info.channels, info.format, info.subtype) == (16000, 1, "FLAC", "PCM_16")
    assert entry.duration == info.frames / 16000
    names, ends = zip(*entry.phones, strict=True)
    assert set(names) <= labels
    assert names[0] == names[-1] == "h#"
    assert list(ends) == sorted(set(ends)) and ends[-1] == entry.duration
    assert entry.text == entry.text.lower()


@needs_espeak
def test_librispeech_layout(corpus: Path) -> None:
    for split in SPLITS:
        lines = {}
        for path in (corpus / "audio" / "librispeech" / f"{split}-demo").rglob("*.trans.txt"):
            assert path.name == f"{path.parent.parent.name}-{path.parent.name}.trans.txt"
            for line in path.read_text().splitlines():
                name, _, text = line.partition(" ")
                assert (path.parent / f"{name}.flac").is_file()
                lines[name] = text
        manifest = read_manifest(corpus / f"{split}.json")
        assert lines == {name: entry.text.upper() for name, entry in manifest.items()}


@needs_espeak
def test_timit_layout(corpus: Path) -> None:
    stems = timit_stems(corpus)
    parts = Counter(stem.relative_to(corpus / "audio" / "timit").parts[0] for stem in stems)
    assert parts == {"TRAIN": 8, "TEST": 7}  # development lies in TEST
    for stem in stems:
        samples, rate = soundfile.read(stem.with_suffix(".WAV"), dtype="int16")
        assert rate == 16000
        phones, words = read_rows(stem.with_suffix(".PHN")), read_rows(stem.with_suffix(".WRD"))
        assert phones[0][0] == 0 and phones[-1][1] == len(samples)
        assert all(before[1] == after[0] for before, after in zip(phones[:-1], phones[1:], strict=True))
        edges = {place for start, end, label in phones if label != "h#" for place in (start, end)}
        assert all({start, end} <= edges for start, end, _ in words)
        assert all(before[1] <= after[0] for before, after in zip(words[:-1], words[1:], strict=True))
        text = " ".join(word for _, _, word in words)
        assert stem.with_suffix(".TXT").read_text() == f"0 {len(samples)} {text.capitalize()}.\n"


@needs_espeak
def test_both_layouts_hold_the_same_utterances(corpus: Path) -> None:
    entries = [entry for split in SPLITS for entry in read_manifest(corpus / f"{split}.json").values()]
    in_librispeech = sorted(soundfile.read(entry.wav, dtype="int16")[0].tobytes() for entry in entries)
    timit = [soundfile.read(stem.with_suffix(".WAV"), dtype="int16")[0].tobytes() for stem in timit_stems(corpus)]
    assert in_librispeech == sorted(timit)


@needs_espeak
def test_summary_and_second_run_does_nothing(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "synthesise", lambda *_, **__: pytest.fail("spoke again"))
    summary = demo.prepare(None, corpus, **SMALL)
    manifest = read_manifest(corpus / "test.json").values()
    assert summary["test"] == {
        "utterances": 4,
        "hours": round(sum(entry.duration for entry in manifest) / 3600, 3),
        "speakers": 4,
        "words": sum(len(entry.text.split()) for entry in manifest),
    }


@needs_espeak
def test_other_sizes_leave_nothing_of_an_interrupted_run(tmp_path: Path) -> None:
    stale = tmp_path / "audio" / "timit" / "TEST" / "DR1" / "MDAB0" / "SX99.PHN"
    foreign = [stale.parent.with_name("MABC0") / stale.name, stale.with_name("notes.md")]
    (tmp_path / SHARDS).mkdir()
    for path in (stale, *foreign):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 1 h#\n")
    demo.prepare(None, tmp_path, train=1, dev=1, test=1)
    assert not stale.exists() and all(path.exists() for path in foreign)


@pytest.mark.parametrize("options", [{"train": 0}, {"test": -1}, {"seed": -1}])
def test_options_out_of_range(options: dict, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="corpus demo"):
        demo.prepare(None, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_without_the_extra_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UsageError, match=r"pip install 'snn-asr\[demo\]'"):
        demo.prepare(None, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""Frames of data sets, caching, recordings that do not fit, and the check that CTC can align every target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import RATE_HZ
from torch.nn import functional
from utterance_sets import FEATURES, TOKENS, silent_set, tone_set

from snn_asr.data import dataset as datasets
from snn_asr.data.audio import write_audio
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.feature_cache import FeatureCache
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor, FeatureStream
from snn_asr.data.manifest import Utterance
from snn_asr.data.sound_file import duration_seconds
from snn_asr.errors import DataError, UsageError


@settings(max_examples=60)
@given(
    words=st.lists(st.sampled_from("abc"), max_size=6), frames=st.integers(0, 25),
    speeds=st.sampled_from([[1.0], [1.0, 1.5], [0.5, 1.0]]),
)
def test_unalignable_targets_are_those_of_infinite_loss(words, frames, speeds):
    data = silent_set([frames], [" ".join(words)], speeds=speeds)
    steps = data.frame_counts(max(speeds))[0] // FEATURES.stack
    loss = functional.ctc_loss(
        torch.zeros(max(steps, 1), 1, 4).log_softmax(-1), data.targets[0].unsqueeze(0), torch.tensor([steps]),
        torch.tensor([len(words)]),
    )
    assert bool(data.unalignable()) == (steps == 0 or not torch.isfinite(loss))


def test_unalignable_targets_are_listed_with_what_they_need():
    data = silent_set([6, 5, 9, 8, 2], ["a b", "a b", "b b", "b b", ""])
    assert data.unalignable() == [
        "u1 (2 frames needed, 1 there)", "u3 (3 frames needed, 2 there)", "u4 (0 frames needed, 0 there)"
    ]
    with pytest.raises(DataError, match=r"train\.json: 3 targets are longer than .*: u1 .*u3 .*u4 ") as caught:
        datasets.require_alignable(data, "train.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"u1 \(.*\) and 2 more"):
        datasets.require_alignable(data, "train.json", limit=1)


def test_the_highest_speed_decides():
    frames, texts = [6, 12], ["a b", "a b"]
    datasets.require_alignable(silent_set(frames, texts), "train.json")
    with pytest.raises(DataError, match="u0") as caught:
        datasets.require_alignable(silent_set(frames, texts, speeds=[0.9, 1.5]), "train.json")
    assert "u1" not in str(caught.value)


def test_one_token_is_required_of_every_utterance_of_a_class():
    datasets.require_one_token(silent_set([9, 9], ["b", "a"]), "train.json")
    with pytest.raises(DataError, match=r"train\.json: .*: u0 \(2 tokens\), u2 \(0 tokens\);") as caught:
        datasets.require_one_token(silent_set([9, 9, 9], ["a b", "c", ""]), "train.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"u0 \(2 tokens\) and 1 more"):
        datasets.require_one_token(silent_set([9, 9], ["a b", ""]), "train.json", limit=1)


def test_transcripts_are_required_of_one_utterance_at_least():
    datasets.require_transcripts(silent_set([9, 9], ["", "a"]), "dev.json")
    with pytest.raises(DataError, match=r"dev\.json: no utterance has a transcript"):
        datasets.require_transcripts(silent_set([9, 9], ["", " "]), "dev.json")


@settings(max_examples=15)
@given(
    samples=st.integers(1, 9000), rate=st.sampled_from([8000, 11025, 16000, 44100]),
    speed=st.sampled_from([0.9, 0.95, 1.0, 1.1, 1.3]),
)
def test_frames_foretold_from_durations_are_those_that_come(samples, rate, speed, tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "x.wav"
    write_audio(path, torch.zeros(samples), rate)
    utterance = Utterance("x", path, samples / rate, "s", "a")
    data = SpeechDataset([utterance], TOKENS, FeatureExtractor(FEATURES))
    assert data.frame_counts(speed) == [len(data.frames(0, speed))]


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(("recorded", "claimed"), [(0, 0.5), (2000, 0.5), (8000, 0.5), (4000, 60)])
def test_a_recording_that_does_not_fit_its_manifest_is_named(recorded, claimed, cached, tmp_path):
    write_audio(tmp_path / "x.wav", torch.zeros(recorded), RATE_HZ)
    options = {"feature_cache": FeatureCache(tmp_path / "features")} if cached else {}
    utterance = Utterance("spoken-7", tmp_path / "x.wav", claimed, "s", "a")
    data = SpeechDataset([utterance], TOKENS, FeatureExtractor(FEATURES), **options)
    with pytest.raises(DataError, match=r"x\.wav: utterance spoken-7: the recording lasts .* manifest says"):
        data[0]


def test_a_rounded_duration_may_not_make_a_target_longer_than_its_frames(tmp_path):
    write_audio(tmp_path / "x.wav", torch.zeros(1600), RATE_HZ)  # 18 frames, 6 stacks of 3
    for text, fits in (("a b c a b c", True), ("a b c a b c a", False)):
        utterance = Utterance("x", tmp_path / "x.wav", 0.25, "s", text)
        data = SpeechDataset([utterance], TOKENS, FeatureExtractor(FEATURES))
        assert not data.unalignable()
        if fits:
            assert len(data[0][1]) == 18
        else:
            with pytest.raises(DataError, match="lasts 0.18 s"):
                data[0]


@pytest.mark.parametrize(("cached", "reads"), [(None, 48), (0, 96), (1, 95)])
def test_frames_are_kept_up_to_the_limit(cached, reads, tones, monkeypatch):
    """``cached`` utterances fit in the memory allowed (None: all of them)."""
    read, calls = datasets.read_audio, []
    monkeypatch.setattr(datasets, "read_audio", lambda *arguments: calls.append(arguments) or read(*arguments))
    data = tone_set(tones)
    if cached is not None:
        data = tone_set(tones, cache_bytes=cached * data.frames(0).numel() * 4)
        calls.clear()
    first = [data[index][1] for index in range(len(data))]
    again = [data[index][1] for index in range(len(data))]
    assert len(calls) == reads
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def test_the_speeds_of_an_epoch_follow_from_the_seed(tones):
    def lengths(seed: int, epoch: int) -> list[int]:
        data = tone_set(tones, speeds=[0.5, 1.0, 2.0], seed=seed)
        data.set_epoch(epoch)
        return [len(data[index][1]) for index in range(len(data))]

    assert lengths(1, 2) == lengths(1, 2)
    assert lengths(1, 2) != lengths(1, 3) and lengths(1, 2) != lengths(2, 2)
    ratios = {round(2 * new / old) for new, old in zip(lengths(1, 2), tone_set(tones).frame_counts(), strict=True)}
    assert ratios == {1, 2, 4}


def test_global_statistics_are_those_of_all_frames_at_their_own_speed(tones):
    data = tone_set(tones, speeds=[0.5, 2.0])
    frames = torch.cat([data.frames(index) for index in range(len(data))]).double()
    normalization = data.normalization()
    torch.testing.assert_close(normalization.mean.double(), frames.mean(dim=0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(normalization.deviation.double(), frames.std(dim=0, correction=0), rtol=1e-5, atol=0)


def write_speakers(folder: Path, settings: FeatureSettings, **options) -> SpeechDataset:
    """Speakers a (loud), b (soft) and c, who was recorded for less than a frame."""
    utterances = []
    for index, (speaker, gain) in enumerate((("a", 0.9), ("b", 0.01), ("a", 0.5), ("b", 0.02), ("c", 0.0))):
        path = folder / f"{index}.wav"
        samples = torch.randn(3000 + 500 * index, generator=torch.Generator().manual_seed(index)) * gain / 4
        write_audio(path, samples if gain else samples[:9], RATE_HZ)
        utterances.append(Utterance(str(index), path, duration_seconds(path), speaker, "a"))
    return SpeechDataset(utterances, TOKENS, FeatureExtractor(settings), **options)


@pytest.mark.parametrize("cached", [False, True])
def test_frames_normalised_by_speaker_have_mean_0_and_deviation_1_for_each_at_each_speed(cached, tmp_path):
    options = {"feature_cache": FeatureCache(tmp_path / "features")} if cached else {}
    data = write_speakers(tmp_path, replace(FEATURES, normalization="speaker"), speeds=[0.9, 1.0], **options)
    plain = write_speakers(tmp_path, FEATURES)
    for speed in (0.9, 1.0):
        for members in ((0, 2), (1, 3)):
            frames = torch.cat([data.frames(index, speed) for index in members])
            torch.testing.assert_close(frames.mean(dim=0), torch.zeros(10), rtol=0, atol=1e-5)
            torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(10), rtol=0, atol=1e-4)
            parts = torch.cat([plain.frames(index, speed) for index in members])
            wanted = (parts - parts.mean(dim=0)) / parts.std(dim=0, correction=0)
            torch.testing.assert_close(frames, wanted, rtol=0, atol=1e-4)
        assert data.frames(4, speed).shape == (0, 10)
    assert data.frames(0).mean() > 0.02  # the louder half of its speaker, not normalised by itself
    normalization = data.normalization()
    torch.testing.assert_close(normalization.mean, torch.zeros(10), rtol=0, atol=1e-5)


def test_frames_normalised_by_utterance_are_what_a_decoded_file_gives(tmp_path):
    for scope in ("utterance", "speaker"):
        data = write_speakers(tmp_path, replace(FEATURES, normalization=scope))
        for index, utterance in enumerate(data.utterances):
            decoded = data.extractor(datasets.read_audio(utterance.wav, RATE_HZ))
            assert decoded.shape == data.frames(index).shape
            if len(decoded):
                torch.testing.assert_close(decoded.mean(dim=0), torch.zeros(10), rtol=0, atol=1e-5)
                torch.testing.assert_close(decoded.std(dim=0, correction=0), torch.ones(10), rtol=0, atol=1e-4)
                assert torch.equal(decoded, data.frames(index)) == (scope == "utterance")


def test_global_normalisation_leaves_frames_to_the_model_and_others_are_refused_where_they_cannot_be(tmp_path):
    data = write_speakers(tmp_path, FEATURES)
    samples = datasets.read_audio(data.utterances[0].wav, RATE_HZ)
    assert torch.equal(data.frames(0), data.extractor.plain_frames(samples))
    assert torch.equal(data.extractor(samples), data.extractor.plain_frames(samples))
    with pytest.raises(UsageError, match="normalization=global"):
        FeatureStream(FeatureExtractor(replace(FEATURES, normalization="speaker")))
    with pytest.raises(UsageError, match="'speakers'; did you mean 'speaker'"):
        replace(FEATURES, normalization="speakers")


def test_a_constant_utterance_is_normalised_to_finite_numbers():
    frames = FeatureExtractor(replace(FEATURES, normalization="utterance"))(torch.zeros(3000))
    assert len(frames) and not frames.any()

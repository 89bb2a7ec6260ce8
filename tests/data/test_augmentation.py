"""Augmentations against what they promise: which frames come out, and how much energy is added."""

import math

import pytest
import torch

from snn_asr.data.augmentation import FilterbankNoise, FrequencyWarp, StackShift, named
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.features import FeatureExtractor
from snn_asr.errors import UsageError


def numbered(batch: int, frames: int) -> torch.Tensor:
    """(batch, frames, 1), each frame its own index."""
    return torch.arange(frames, dtype=torch.float32).expand(batch, frames).unsqueeze(-1)


def test_a_shift_repeats_the_first_frame_and_moves_the_others():
    torch.manual_seed(0)
    shifted = StackShift(2)(numbered(200, 7), torch.full((200,), 7)).squeeze(-1)
    rows = {tuple(row) for row in shifted.int().tolist()}
    assert rows == {(0, 1, 2, 3, 4, 5, 6), (0, 0, 1, 2, 3, 4, 5), (0, 0, 0, 1, 2, 3, 4)}


def test_every_shift_is_as_likely():
    torch.manual_seed(0)
    shifts = 6 - StackShift(2)(numbered(3000, 7), torch.full((3000,), 7))[:, -1, 0]
    counts = torch.bincount(shifts.int(), minlength=3)
    assert counts.min() > 900 and counts.sum() == 3000


def test_padding_of_other_rows_never_enters_an_utterance():
    frames = numbered(50, 9).clone()
    frames[:, 6:] = math.nan
    shifted = StackShift(2)(frames, torch.full((50,), 6))
    assert not shifted[:, :6].isnan().any()


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_noise_has_the_energy_its_ratio_says(snr_db):
    torch.manual_seed(0)
    energies = torch.rand(4, 2000, 20) + 0.5
    noise = FilterbankNoise(snr_db, snr_db, probability=1.0, tilt_db=0.0)(energies.log(), torch.full((4,), 2000)).exp()
    added = (noise - energies).mean(dim=(1, 2))
    ratio_db = 10 * (energies.mean(dim=(1, 2)) / added).log10()
    assert (ratio_db - snr_db).abs().max() < 0.1


def test_the_level_is_that_of_the_frames_within_the_length():
    energies = torch.ones(1, 4000, 8)
    energies[:, 2000:] = 1e6
    noise = FilterbankNoise(0.0, 0.0, probability=1.0, tilt_db=0.0)(energies.log(), torch.tensor([2000])).exp()
    assert abs(float((noise[:, :2000] - 1).mean()) - 1) < 0.05


def test_noise_may_be_tilted_and_some_utterances_stay_clean():
    torch.manual_seed(0)
    frames = torch.zeros(400, 50, 10)
    noisy = FilterbankNoise(10.0, 20.0, probability=0.25)(frames, torch.full((400,), 50))
    clean = (noisy == frames).all(dim=(1, 2))
    assert 0.65 < clean.float().mean() < 0.85
    low, high = noisy[~clean][..., 0].mean(dim=1), noisy[~clean][..., -1].mean(dim=1)
    assert (low > high).any() and (low < high).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: StackShift(-1), lambda: StackShift(1.5), lambda: FilterbankNoise(5, 3),
        lambda: FilterbankNoise(3, 5, 2), lambda: FrequencyWarp(1.1, 0.9), lambda: FrequencyWarp(0.0, 1.0),
        lambda: FrequencyWarp("0.9", 1.1),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(UsageError):
        make()


@pytest.mark.parametrize("features", [{"kind": "mfcc"}, {"deltas": True}, {"normalization": "speaker"}])
@pytest.mark.parametrize("augmentation", [FilterbankNoise(5, 30), FrequencyWarp(0.9, 1.1)])
def test_what_works_on_energies_is_refused_where_frames_are_not_log_energies(augmentation, features):
    augmentation.fit(FeatureSettings())
    with pytest.raises(UsageError, match="log filterbank energies alone"):
        augmentation.fit(FeatureSettings(**features))


WARPED = FeatureSettings(sample_rate=8000, mels=60, low_hz=100, high_hz=3800, stack=1)


def tone(hertz: float) -> torch.Tensor:
    """(1, T, mels): a second of a tone."""
    samples = torch.sin(2 * math.pi * hertz * torch.arange(8000) / 8000)
    return FeatureExtractor(WARPED)(samples)[None]


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
@pytest.mark.parametrize("hertz", [300, 900, 1500])
def test_a_warped_tone_is_the_tone_of_another_frequency(factor, hertz):
    frames = tone(hertz * factor)
    warped = FrequencyWarp(factor, factor).fit(WARPED)(frames, torch.tensor([frames.shape[1]]))
    assert (warped.mean(dim=1).argmax() - tone(hertz).mean(dim=1).argmax()).abs() <= 1
    assert factor != 1 or torch.allclose(warped, frames, atol=1e-4)


def test_a_warp_keeps_the_order_of_frequencies_and_the_highest_and_differs_between_utterances():
    torch.manual_seed(0)
    bands = torch.arange(60, dtype=torch.float64).expand(500, 2, 60)
    warped = FrequencyWarp(0.8, 1.25).fit(WARPED)(bands, torch.full((500,), 2))
    assert (warped.diff(dim=2) >= 0).all() and (warped[..., -1] > 57).all()
    assert torch.equal(warped[:, 0], warped[:, 1]) and len(warped[:, 0, 30].unique()) == 500
    assert (warped[:, 0, 30] > 31).any() and (warped[:, 0, 30] < 29).any()


def test_where_the_bands_lie_is_no_argument_of_a_recipe():
    assert named({"frequency_warp": {"low": 0.9, "high": 1.1}}) == FrequencyWarp(0.9, 1.1)
    with pytest.raises(UsageError, match="unknown argument of frequency_warp 'features'"):
        named({"frequency_warp": {"low": 0.9, "high": 1.1, "features": {}}})

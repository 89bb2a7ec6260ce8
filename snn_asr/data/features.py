"""Log-mel or MFCC frames, their deltas, averages over segments, and frame stacking.

A frame is the same number bit for bit whether its utterance is computed whole or in chunks of any size (spectra.py).
Segments divide an utterance that is known to its end: they exist whole only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional
from torchaudio.functional import compute_deltas

from snn_asr.data.feature_settings import GLOBAL, FeatureSettings
from snn_asr.data.normalization import normalize_alone
from snn_asr.data.spectra import Spectra

DELTA_WINDOW_FRAMES = 5
DELTA_LOOK_AHEAD_FRAMES = 4  # two orders of deltas, each looking half a window ahead


class FeatureExtractor:
    """Frames of a waveform: ``extractor(samples (N,)) -> (T, F) float32``, not stacked.

    They are not normalised either, unless the settings say by speaker or utterance: then by themselves. T is
    ``settings.segments`` where that is not 0 and there is a window at all.

    The numbers are those of Kaldi's ``compute-fbank-feats`` and ``compute-mfcc-feats`` (Povey window, DC offset
    removed, pre-emphasis 0.97, ``snip_edges``, no dither) for samples in [-1, 1]. torchaudio computes the same in
    float64, but a frame that comes alone costs a live stream a hundred times as much there.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self._spectra = Spectra(settings)

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        frames = self.plain_frames(samples)
        return frames if self.settings.normalization == GLOBAL else normalize_alone(frames)

    def plain_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """(N,) to (T, F), not normalised whatever the settings say."""
        frames = self.base_frames(samples)
        frames = add_deltas(frames) if self.settings.deltas else frames
        return average_segments(frames, self.settings.segments) if self.settings.segments else frames

    def frame_count(self, samples: int) -> int:
        """Frames that so many samples give: 0 where there is less than a window."""
        windows = self.window_count(samples)
        return self.settings.segments if windows and self.settings.segments else windows

    def window_count(self, samples: int) -> int:
        """Whole windows that fit in so many samples."""
        return max(0, 1 + (samples - self.settings.window_samples) // self.settings.hop_samples)

    def base_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """(N,) to (windows, base size) float32, without deltas and not averaged."""
        return torch.from_numpy(self._spectra(samples.contiguous().numpy(), self.window_count(len(samples))))


class FeatureStream:
    """Frames of a waveform that arrives in chunks; together they equal ``extractor(whole waveform)`` exactly.

    Raises UsageError for features with segments, or normalised by anything but the training data.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        extractor.settings.require_streaming()
        self._extractor = extractor
        self._samples: np.ndarray
        self._reset()

    def accept(self, samples: torch.Tensor) -> torch.Tensor:
        """Take samples (n,), return the frames (t, F) that have become final (with deltas, 4 frames late)."""
        waiting = np.concatenate((self._samples, samples.numpy()))
        frames = self._extractor.base_frames(torch.from_numpy(waiting))
        self._samples = waiting[len(frames) * self._extractor.settings.hop_samples :]
        return self._finished_frames(frames, DELTA_LOOK_AHEAD_FRAMES)

    def finish(self) -> torch.Tensor:
        """The last frames (t, F) of the waveform; the stream is then ready for another."""
        frames = self._finished_frames(torch.empty(0, self._extractor.settings.base_size, dtype=torch.float32), 0)
        self._reset()
        return frames

    def _reset(self) -> None:
        self._samples = np.empty(0, np.float32)  # from the start of the next frame
        # frames that the deltas still need
        self._context = torch.empty(0, self._extractor.settings.base_size, dtype=torch.float32)
        self._past = 0  # frames at the start of the context whose deltas were returned

    def _finished_frames(self, frames: torch.Tensor, look_ahead_frames: int) -> torch.Tensor:
        if not self._extractor.settings.deltas:
            return frames
        self._context = torch.cat((self._context, frames))
        end = max(self._past, len(self._context) - look_ahead_frames)
        if end == self._past:
            return torch.empty(0, self._extractor.settings.size, dtype=torch.float32)
        finished = add_deltas(self._context)[self._past : end]
        keep = max(0, end - DELTA_LOOK_AHEAD_FRAMES)
        self._context, self._past = self._context[keep:], end - keep
        return finished


def add_deltas(frames: torch.Tensor) -> torch.Tensor:
    """(T, F) to (T, 3F): the frames, their slopes over 5 frames, and the slopes of these; edges are repeated."""
    orders = [frames]
    for _ in range(2):
        if len(frames):
            # Sums of small multiples of float32 numbers are exact in float64, whatever the length of the sequence.
            frames = compute_deltas(frames.double().T, DELTA_WINDOW_FRAMES, mode="replicate").T.float()
        orders.append(frames)
    return torch.cat(orders, dim=1)


def average_segments(frames: torch.Tensor, segments: int) -> torch.Tensor:
    """(T, F) to (segments, F): means over ``segments`` equal parts of the utterance; (0, F) where T is 0.

    Part i covers frames floor(i T / segments) to ceil((i + 1) T / segments), the last excluded: a frame on a border
    counts on both sides, and where there are fewer frames than segments frames are repeated.
    """
    if not len(frames):
        return frames
    # Contiguous, as frames on disk are: sums over them are then taken in one order.
    return functional.adaptive_avg_pool1d(frames.double().T, segments).T.float().contiguous()


def stack_frames(frames: torch.Tensor, stack: int) -> torch.Tensor:
    """(..., T, F) to (..., T // stack, stack * F): neighbours side by side; an incomplete last group is dropped."""
    count = stacked_length(frames.shape[-2], stack)
    return frames[..., : count * stack, :].reshape(*frames.shape[:-2], count, stack * frames.shape[-1])


def stacked_length(frames: int, stack: int) -> int:
    """Frames left by ``stack_frames`` of so many frames."""
    return frames // stack

"""All frames of a small corpus on the GPU that trains, where batches are then put together.

An hour of speech is 60 MB of frames. Padding frames on the host and copying each batch takes longer than a GPU needs to
train on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from snn_asr.data.dataset import SpeechDataset
from snn_asr.devices import send

MOST_BYTES = 1 << 30  # of frames at all speeds together: some six hours of speech at three speeds


def fits(dataset: SpeechDataset) -> bool:
    """Whether the frames of a data set, at all its speeds, may stay on a device."""
    frames = sum(sum(dataset.frame_counts(speed)) for speed in set(dataset.speeds))
    return frames * dataset.extractor.settings.size * 4 <= MOST_BYTES


class ResidentFrames:
    """All frames of a data set at all its speeds, in one tensor on ``device``."""

    def __init__(self, dataset: SpeechDataset, device: torch.device | str) -> None:
        self._dataset, self._device = dataset, device
        rows = [(float(speed), index) for speed in sorted(set(dataset.speeds)) for index in range(len(dataset))]
        frames = [dataset.frames(index, speed) for speed, index in rows]
        counts = [len(each) for each in frames]
        self._counts = dict(zip(rows, counts, strict=True))
        self._starts = dict(zip(rows, accumulate(counts, initial=0), strict=False))
        self._frames = send(torch.cat(frames), device)

    def padded(self, indices: Sequence[int]) -> tuple[Tensor, list[int]]:
        """The frames (B, T, F) of some utterances on the device, zero in the padding, and the length of each.

        They are the frames that the data set itself gives in this epoch.
        """
        rows = [(self._dataset.speed_of(index), index) for index in indices]
        most = self._dataset.most_frames
        counts = [self._counts[row] if most is None else min(self._counts[row], most) for row in rows]
        numbers = send(torch.tensor([[self._starts[row] for row in rows], counts]), self._device)
        start, count = numbers.unsqueeze(-1)
        place = torch.arange(max(counts), device=self._device)
        valid = place < count
        positions = torch.where(valid, start + place, 0)
        frames = self._frames[positions.flatten()].unflatten(0, positions.shape)
        return frames.masked_fill(~valid.unsqueeze(-1), 0.0), counts

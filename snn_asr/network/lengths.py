"""The lengths of the rows of a padded batch, known on the host and on the device.

A GPU works behind the program that feeds it, and asking it for a number means waiting for everything that it still has
to do. Code on the host therefore takes the lengths from the host, and kernels take the same numbers from the device.
Masks and positions are made once a batch, when the first layer asks for them, and shared by all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from snn_asr.devices import send
from snn_asr.processes import count


class Lengths:
    """Frame counts of the rows of a batch (B, T, ...).

    ``counts`` are plain numbers on the host, ``tensor`` (B,) int64 lies on the device of the batch; ``frames`` is T.
    """

    def __init__(
        self, counts: Sequence[int], frames: int, device: torch.device, tensor: Tensor | None = None
    ) -> None:
        self.counts, self.frames, self.device = tuple(counts), frames, device
        if tensor is not None:
            self.tensor = tensor

    @classmethod
    def of(cls, lengths: Tensor | Lengths, batch: Tensor) -> Lengths:
        """The lengths of a ``batch`` (B, T, ...), from a tensor (B,) of integers on any device, or ``lengths`` itself.

        Reading a tensor from a GPU waits for the GPU; a training step gives lengths from the host.
        """
        if isinstance(lengths, Lengths):
            return lengths
        there = lengths.to(torch.int64) if lengths.device == batch.device else None
        return cls(lengths.tolist(), batch.shape[1], batch.device, there)

    def __len__(self) -> int:
        """The number of rows, B."""
        return len(self.counts)

    def check(self) -> None:
        """Raise ValueError if these cannot be the lengths of the batch."""
        if not all(0 <= each <= self.frames for each in self.counts):
            raise ValueError(f"lengths must lie between 0 and the {self.frames} frames given")

    def divided(self, by: int) -> Lengths:
        """The lengths of a batch whose frames are groups of ``by`` frames; incomplete groups are dropped."""
        if by == 1:
            return self
        return Lengths([each // by for each in self.counts], self.frames // by, self.device, self.tensor // by)

    def multiplied(self, by: int) -> Lengths:
        """The inverse of ``divided``: the lengths of a batch that has ``by`` frames for each of these."""
        if by == 1:
            return self
        return Lengths([each * by for each in self.counts], self.frames * by, self.device, self.tensor * by)

    @cached_property
    def tensor(self) -> Tensor:
        return send(torch.tensor(self.counts, dtype=torch.int64), self.device)

    @cached_property
    def whole(self) -> bool:
        """Whether the batch has no padding."""
        return all(each == self.frames for each in self.counts)

    @cached_property
    def total(self) -> int:
        """The number of valid frames, N."""
        return sum(self.counts)

    @cached_property
    def total_of_all(self) -> int:
        """The number of valid frames in the shares of all processes. Every process has to ask for it."""
        return count(self.total, self.device)

    @cached_property
    def longest(self) -> int:
        """The length of the longest row."""
        return max(self.counts, default=0)

    @cached_property
    def mask(self) -> Tensor:
        """A mask (B, T) on the device, True where a frame is valid."""
        return torch.arange(self.frames, device=self.device) < self.tensor.unsqueeze(1)

    @cached_property
    def positions(self) -> Tensor:
        """The places (N,) int64 of the valid frames among all B · T, row by row; on the device."""
        padding_before = torch.arange(len(self), device=self.device) * self.frames
        padding_before = padding_before - (self.tensor.cumsum(0) - self.tensor)
        shift = torch.repeat_interleave(padding_before, self.tensor, output_size=self.total)
        return torch.arange(self.total, device=self.device) + shift

    def pack(self, batch: Tensor) -> Tensor:
        """The valid frames (N, ...) of a batch (B, T, ...), row by row; a view of it if all are valid."""
        frames = batch.flatten(0, 1)
        return frames if self.whole else frames.index_select(0, self.positions)

    def unpack(self, frames: Tensor) -> Tensor:
        """The inverse of ``pack``: a batch (B, T, ...) with these valid frames (N, ...), zero in the padding."""
        if not self.whole:
            batch = frames.new_zeros(len(self) * self.frames, *frames.shape[1:])
            frames = batch.index_copy(0, self.positions, frames)
        return frames.unflatten(0, (len(self), self.frames))

    def without_padding(self, batch: Tensor) -> Tensor:
        """The batch (B, T, H) with zeros in the padding; the batch itself if it has no padding."""
        return batch if self.whole else batch * self.mask.unsqueeze(-1)

    def reversed(self, batch: Tensor) -> Tensor:
        """The batch (B, T, H) with the valid frames of each row in reverse order; padding stays at the end."""
        if self.whole:
            return batch.flip(1)
        index = torch.arange(self.frames, device=self.device).expand(len(self), self.frames)
        index = torch.where(self.mask, self.tensor.unsqueeze(1) - 1 - index, index)
        return batch.gather(1, index.unsqueeze(-1).expand_as(batch))

    def last(self, batch: Tensor, before: Tensor) -> Tensor:
        """The last valid frame (B, H) of each row of a batch (B, T, H); a row without one has that of ``before`` (B,
        H)."""
        if self.whole and self.frames:
            return batch[:, -1].clone()  # a view would keep the whole batch in memory
        rows, positions = self.last_positions
        last = batch[rows, positions]
        return last if self.none_empty else torch.where((self.tensor > 0).unsqueeze(1), last, before)

    @property
    def none_empty(self) -> bool:
        """Whether every row is known to have a valid frame."""
        return all(self.counts)

    @cached_property
    def last_positions(self) -> tuple[Tensor, Tensor]:
        """The indices (B,) of the rows and of their last valid frames, 0 for a row without one; on the device."""
        return torch.arange(len(self), device=self.device), (self.tensor - 1).clamp(min=0)


class LengthsOnDevice(Lengths):
    """Lengths that only the device knows, so that work with them can be recorded once and replayed for other lengths
    (training/loop/step_graphs.py).

    ``tensor`` (B,) int64 is on the device, and ``frames`` is T. Nothing is packed: padding is left out by ``mask``.
    Raises ValueError where the counts are needed on the host.
    """

    whole = False
    none_empty = False

    def __init__(self, tensor: Tensor, frames: int) -> None:
        super().__init__((), frames, tensor.device, tensor)

    def __len__(self) -> int:
        return len(self.tensor)

    def check(self) -> None:
        """Nothing to check here: whoever fills ``tensor`` answers for it."""

    def divided(self, by: int) -> LengthsOnDevice:
        return LengthsOnDevice(self.tensor // by, self.frames // by)

    def multiplied(self, by: int) -> LengthsOnDevice:
        return LengthsOnDevice(self.tensor * by, self.frames * by)

    def pack(self, batch: Tensor) -> Tensor:
        """All frames (B · T, ...): ``mask`` says which are valid."""
        return batch.flatten(0, 1)

    def unpack(self, frames: Tensor) -> Tensor:
        return self.without_padding(frames.unflatten(0, (len(self), self.frames)))

    @property
    def total(self) -> int:  # type: ignore[override]
        raise ValueError("these lengths are not known on the host")

    longest = total_of_all = positions = total  # type: ignore[assignment]

"""Padded batches by frames, for training, evaluation, tuning and decoding.

A batch is limited by its frames, padding included, and not by the number of its utterances: memory holds frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from snn_asr import processes
from snn_asr.data.cutting import CUT, LEFT_OUT
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.manifest import Utterance
from snn_asr.data.reading_ahead import ReadAhead, WholeBatches, possible_workers
from snn_asr.data.resident import ResidentFrames, fits
from snn_asr.devices import send


@dataclass(frozen=True)
class Batch:
    """A padded batch: ``frames`` (B, T, F), ``lengths`` (B,) in frames, ``targets`` (B, L) token ids,
    ``target_lengths``.

    The lengths stay on the host, wherever the rest is, because reading them from a GPU would wait for it.
    """

    utterances: list[Utterance]
    frames: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(self, frames=change(self.frames), targets=change(self.targets))

    def to(self, device: torch.device | str) -> Batch:
        """The batch with frames and targets on the device; the copy may still be under way."""
        return self._each(lambda each: each.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in pinned memory, which a GPU copies by itself (DataLoader calls this)."""
        return self._each(lambda each: each.pin_memory())


def by_length(lengths: Sequence[float], limit: float, most: int = 0) -> list[list[int]]:
    """The indices of ``lengths`` in groups of similar length, the shortest first.

    Padded to its longest member, a group is at most ``limit`` long in total. It has at most ``most`` members, unless
    that is 0. A length above the limit is a group of its own.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda each: lengths[each]):
        full = not groups or lengths[index] * (len(groups[-1]) + 1) > limit or len(groups[-1]) == most > 0
        if full:
            groups.append([])
        groups[-1].append(index)
    return groups


def pad(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences (t, ...) as one tensor (B, T, ...) with zeros after their ends, and their lengths (B,)."""
    return pad_sequence(list(sequences), batch_first=True), torch.tensor([len(each) for each in sequences])


def padded_groups(sequences: Sequence[Tensor], limit: float) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """The groups that ``by_length`` makes of sequences of frames: the indices of the members, and what ``pad``
    gives."""
    for group in by_length([len(each) for each in sequences], limit):
        yield group, *pad([sequences[index] for index in group])


def collate(examples: list[tuple[Utterance, Tensor, Tensor]], settings: FeatureSettings | None = None) -> Batch:
    """The padded batch of some examples of a data set.

    ``settings`` are needed if there may be no examples. The batch then has one row without frames, which takes part in
    every computation and changes nothing.
    """
    if not examples and settings is not None:
        nothing, none = torch.zeros(1, settings.stack, settings.size), torch.zeros(1, dtype=torch.long)
        return Batch([], nothing, none, none.unsqueeze(1), none)
    utterances, frames, targets = zip(*examples, strict=True)
    return Batch(list(utterances), *pad(frames), *pad(targets))


class BucketedBatches:
    """Batches of similar lengths with at most ``batch_frames`` frames: shortest first in epoch 1, then shuffled.

    If several processes train, each gets its share of every batch, which may be empty. An epoch has a multiple of
    ``accumulation`` batches, so that they make whole training steps.

    ``batch_utterances`` above 0 also limits the number of utterances in a batch. If all lengths are equal, as with
    segments, every epoch is shuffled, and batches are full. ``curriculum`` lists pairs (frames, epochs): for so many
    epochs only utterances of at most so many frames are taken, or the shortest batches that make a training step, and
    after the last pair all utterances. With ``longer="cut"`` longer ones are taken too, cut to so many frames.
    """

    def __init__(
        self, dataset: SpeechDataset, batch_frames: int, seed: int, batch_utterances: int = 0,
        curriculum: Sequence[tuple[int, int]] = (), accumulation: int = 1, longer: str = LEFT_OUT,
    ) -> None:
        from speechbrain.dataio.sampler import DynamicBatchSampler

        self._lengths = lengths = [max(each, 1) for each in dataset.frame_counts(min(dataset.speeds))]
        uniform = min(lengths) == max(lengths)
        buckets = {"bucket_boundaries": lengths[:1]} if uniform else {"num_buckets": 20}
        common = {**buckets, "lengths_list": lengths, "seed": seed, "max_batch_ex": batch_utterances or None}
        limit = max(batch_frames, max(lengths))
        self._shuffled = DynamicBatchSampler(dataset, limit, shuffle=True, batch_ordering="random", **common)
        self._ordered = self._shuffled if uniform else DynamicBatchSampler(
            dataset, limit, shuffle=False, batch_ordering="ascending", **common
        )
        self.accumulation, self._dataset, self._cut = accumulation, dataset, longer == CUT
        self.full_epoch = self._whole_steps(len(self._ordered))  # batches of an epoch of all utterances
        self._limits = [frames for frames, epochs in curriculum for _ in range(epochs)]
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of this epoch, counted from 1. Iterating gives this process's share of each."""
        batches, limits = self._of_epoch(epoch), self._limits[epoch - 1 : epoch]
        self._dataset.most_frames = limits[0] if self._cut and limits else None
        self._batches = [self._share(batch) for batch in batches] if processes.world() > 1 else batches

    def steps(self, epochs: int) -> list[int]:
        """The number of training steps in each of the first ``epochs`` epochs."""
        first = range(1, min(epochs, len(self._limits)) + 1)
        short = [len(self._of_epoch(epoch)) // self.accumulation for epoch in first]
        return short + [self.full_epoch // self.accumulation] * (epochs - len(short))

    def _of_epoch(self, epoch: int) -> list[list[int]]:
        """The batches of all processes together."""
        self._shuffled.set_epoch(epoch)
        batches = list(self._ordered if epoch == 1 else self._shuffled)
        if epoch <= len(self._limits) and not self._cut:
            limit = self._limits[epoch - 1]
            kept = ([index for index in batch if self._lengths[index] <= limit] for batch in batches)
            short = [batch for batch in kept if batch]
            enough = len(short) >= self.accumulation
            batches = short if enough else sorted(batches, key=self._longest)[: self.accumulation]
        return batches[: self._whole_steps(len(batches))]

    def _whole_steps(self, batches: int) -> int:
        return max(batches - batches % self.accumulation, min(batches, self.accumulation))

    def _share(self, batch: list[int]) -> list[int]:
        mine = processes.share([self._lengths[index] for index in batch])[processes.rank()]
        return [batch[position] for position in mine]

    def _longest(self, batch: list[int]) -> int:
        return max(self._lengths[index] for index in batch)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class ResidentBatches(Dataset[int]):
    """For DataLoader: batches that are put together on a device that holds all frames of a data set."""

    def __init__(self, dataset: SpeechDataset, device: torch.device | str) -> None:
        self.dataset, self.device, self.frames = dataset, device, ResidentFrames(dataset, device)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, indices: list[int]) -> Batch:
        """The batch of these utterances, its frames and targets on the device."""
        if not indices:
            return collate([], self.dataset.extractor.settings).to(self.device)
        frames, counts = self.frames.padded(indices)
        targets, target_lengths = pad([self.dataset.target(index) for index in indices])
        utterances = [self.dataset.utterances[index] for index in indices]
        return Batch(utterances, frames, torch.tensor(counts), send(targets, self.device), target_lengths)


def training_loader(dataset: SpeechDataset, batches: BucketedBatches, workers: int, device: str) -> DataLoader[Any]:
    """``workers`` processes read ahead, as many of them as are possible; 0 reads each batch when it is its turn, and a
    GPU keeps the frames of a small corpus."""
    if device.startswith("cuda") and not workers and fits(dataset):
        return _resident_loader(dataset, batches, device)
    make, pin = partial(collate, settings=dataset.extractor.settings), device.startswith("cuda")
    if workers and (possible := possible_workers(workers)):
        return ReadAhead(WholeBatches(dataset, make), batches, possible, pin)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=make, pin_memory=pin)


def evaluation_loader(
    dataset: SpeechDataset, batch_frames: int, shared: bool = False, device: str = "cpu"
) -> DataLoader[Any]:
    """The loader of batches in the order of length, so that there is little padding; ``shared`` ones are this process's
    part of them. A GPU holds the frames of a small corpus."""
    batches = by_length(dataset.frame_counts(), batch_frames)
    if shared:
        batches = batches[processes.rank() :: processes.world()]
    if device.startswith("cuda") and fits(dataset):
        return _resident_loader(dataset, batches, device)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate)


def _resident_loader(dataset: SpeechDataset, batches: Iterable[list[int]], device: str) -> DataLoader[Any]:
    resident = ResidentBatches(dataset, device)
    return DataLoader(resident, batch_sampler=batches, collate_fn=resident.collate)

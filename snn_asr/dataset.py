"""Training data: manifests to padded batches of frames and targets; checks that every target can be learnt."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from snn_asr.audio import change_speed, read_audio, speed_ratio
from snn_asr.errors import DataError
from snn_asr.features import FeatureExtractor, Normalization, NormalizationAccumulator, stacked_length
from snn_asr.manifest import Utterance
from snn_asr.tokens import Tokens

CACHE_BYTES = 2 << 30


@dataclass(frozen=True)
class Batch:
    """``frames`` (B, T, F), ``lengths`` (B,) frames, ``targets`` (B, L) token ids, ``target_lengths`` (B,)."""

    utterances: list[Utterance]
    frames: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor

    def to(self, device: torch.device | str) -> Batch:
        tensors = (self.frames, self.lengths, self.targets, self.target_lengths)
        return Batch(self.utterances, *(each.to(device) for each in tensors))


class SpeechDataset(Dataset):
    """Frames and targets of utterances; with several ``speeds`` each epoch draws one an utterance.

    Frames are kept in memory once computed, up to ``cache_bytes``.
    """

    def __init__(
        self, utterances: Sequence[Utterance], tokens: Tokens, extractor: FeatureExtractor,
        speeds: Sequence[float] = (1.0,), seed: int = 0, cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.utterances, self.tokens, self.extractor = list(utterances), tokens, extractor
        indices = (tokens.encode(tokens.transcript(each)) for each in self.utterances)
        self.targets = [torch.tensor(each, dtype=torch.long) for each in indices]
        self.speeds, self.seed = list(speeds), seed
        self._cache: dict[tuple[int, float], Tensor] = {}
        self._free_bytes = cache_bytes
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        draw = random.Random(f"{self.seed} {epoch}")
        self._chosen = [draw.choice(self.speeds) for _ in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> tuple[Utterance, Tensor, Tensor]:
        return self.utterances[index], self.frames(index, self._chosen[index]), self.targets[index]

    def frames(self, index: int, speed: float = 1.0) -> Tensor:
        """Frames (T, F) of one utterance played at ``speed``."""
        key = index, speed
        if key in self._cache:
            return self._cache[key]
        samples = read_audio(self.utterances[index].wav, self.extractor.settings.sample_rate)
        frames = self.extractor(change_speed(samples, speed) if speed != 1 else samples)
        size = frames.numel() * frames.element_size()
        if size <= self._free_bytes:
            self._cache[key] = frames
            self._free_bytes -= size
        return frames

    def frame_counts(self, speed: float = 1.0) -> list[int]:
        """Frames of every utterance at ``speed``, from the durations in the manifest; rounded as resampling does."""
        rate, ratio = self.extractor.settings.sample_rate, speed_ratio(speed)
        whole = (math.ceil(round(each.duration * rate, 3)) for each in self.utterances)
        return [self.extractor.frame_count(math.ceil(samples / ratio)) for samples in whole]

    def normalization(self) -> Normalization:
        """Global statistics over all utterances at their own speed."""
        accumulator = NormalizationAccumulator()
        for index in range(len(self)):
            accumulator.update(self.frames(index))
        return accumulator.finish()

    def unalignable(self) -> list[str]:
        """A line for each utterance whose target needs more stacked frames than it has at the highest speed.

        CTC needs a frame a token and one more between equal neighbours.
        """
        problems = []
        stack = self.extractor.settings.stack
        counts = self.frame_counts(max(self.speeds))
        for utterance, target, frames in zip(self.utterances, self.targets, counts, strict=True):
            needed = len(target) + int((target[1:] == target[:-1]).sum())
            if stacked_length(frames, stack) < max(needed, 1):
                problems.append(f"{utterance.id} ({needed} frames needed, {stacked_length(frames, stack)} there)")
        return problems


def require_alignable(dataset: SpeechDataset, where: object, limit: int = 20) -> None:
    """Raise one DataError that lists the utterances on which CTC could train on nothing."""
    problems = dataset.unalignable()
    if problems:
        more = f" and {len(problems) - limit} more" if len(problems) > limit else ""
        raise DataError(
            f"{len(problems)} targets are longer than their frames: {', '.join(problems[:limit])}{more}", where,
            "take them out of the manifest, or lower 'stack'",
        )


def require_one_token(dataset: SpeechDataset, where: object, limit: int = 20) -> None:
    """Raise one DataError that lists the utterances whose transcript is not a single token, as classes are."""
    pairs = zip(dataset.utterances, dataset.targets, strict=True)
    problems = [f"{utterance.id} ({len(target)} tokens)" for utterance, target in pairs if len(target) != 1]
    if problems:
        more = f" and {len(problems) - limit} more" if len(problems) > limit else ""
        raise DataError(
            f"classification needs one token for each utterance: {', '.join(problems[:limit])}{more}", where,
            "use manifests of single words and 'tokens: words', or 'task: transcription'",
        )


def require_transcripts(dataset: SpeechDataset, where: object) -> None:
    """Raise DataError where no utterance has a transcript: there would be no error rate."""
    if not any(len(each) for each in dataset.targets):
        raise DataError("no utterance has a transcript", where, "prepare the data with their texts")


def collate(examples: list[tuple[Utterance, Tensor, Tensor]]) -> Batch:
    utterances, frames, targets = zip(*examples, strict=True)
    return Batch(
        list(utterances), pad_sequence(frames, batch_first=True), torch.tensor([len(each) for each in frames]),
        pad_sequence(targets, batch_first=True), torch.tensor([len(each) for each in targets]),
    )


class BucketedBatches:
    """Batches of similar lengths with at most ``batch_frames`` frames: shortest first in epoch 1, then shuffled.

    ``batch_utterances`` above 0 limits their number too. Where all lengths are equal, as with segments, there is no
    shortest: every epoch is shuffled, and batches are full. ``curriculum`` lists (frames, epochs): for so many epochs
    only utterances of at most so many frames are taken (at least the shortest batch), after the last pair all are.
    """

    def __init__(
        self, dataset: SpeechDataset, batch_frames: int, seed: int, batch_utterances: int = 0,
        curriculum: Sequence[tuple[int, int]] = (),
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
        self.full_epoch = len(self._ordered)  # batches of an epoch of all utterances
        self._limits = [frames for frames, epochs in curriculum for _ in range(epochs)]
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        self._shuffled.set_epoch(epoch)
        batches = list(self._ordered if epoch == 1 else self._shuffled)
        if epoch <= len(self._limits):
            limit = self._limits[epoch - 1]
            kept = ([index for index in batch if self._lengths[index] <= limit] for batch in batches)
            batches = [batch for batch in kept if batch] or [min(batches, key=self._longest)]
        self._batches = batches

    def _longest(self, batch: list[int]) -> int:
        return max(self._lengths[index] for index in batch)

    def __iter__(self):
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def evaluation_loader(dataset: SpeechDataset, batch_frames: int) -> DataLoader:
    """Batches in the order of length, so that little is padding."""
    lengths = dataset.frame_counts()
    order = sorted(range(len(dataset)), key=lambda index: lengths[index])
    batches: list[list[int]] = []
    for index in order:
        if not batches or lengths[index] * (len(batches[-1]) + 1) > batch_frames:
            batches.append([])
        batches[-1].append(index)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate)

"""Data sets: the frames and targets of the utterances of a manifest, and checks that training can use them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from snn_asr.data.audio import read_audio
from snn_asr.data.cutting import cut_transcript
from snn_asr.data.feature_cache import CachedFrames, FeatureCache
from snn_asr.data.feature_settings import SPEAKER, UTTERANCE
from snn_asr.data.features import FeatureExtractor, stacked_length
from snn_asr.data.manifest import Utterance
from snn_asr.data.normalization import Normalization, NormalizationAccumulator, normalize_alone
from snn_asr.data.resampling import change_speed, speed_ratio
from snn_asr.data.tokens import Tokens, ctc_frames
from snn_asr.errors import DataError, listed, of_every

CACHE_BYTES = 2 << 30
_TOLERANCE, _TOLERANCE_SECONDS = 0.01, 0.15  # of a duration, which may be rounded or come from a lossy codec


class SpeechDataset(Dataset[tuple[Utterance, Tensor, Tensor]]):
    """The frames and targets of utterances. With several ``speeds`` each epoch draws a speed for each utterance.

    Batches and checks rely on the durations in the manifest. A recording of another duration is a DataError when its
    frames are first needed.

    Frames are kept in ``feature_cache`` or, without one, in memory, up to ``cache_bytes``. If features are normalised
    by speaker, the statistics are those of all utterances of the speaker in this set, at each speed separately (as in
    Kaldi, where a faster speaker is another speaker).
    """

    def __init__(
        self, utterances: Sequence[Utterance], tokens: Tokens, extractor: FeatureExtractor,
        speeds: Sequence[float] = (1.0,), seed: int = 0, cache_bytes: int = CACHE_BYTES,
        feature_cache: FeatureCache | None = None,
    ) -> None:
        self.utterances, self.tokens, self.extractor = list(utterances), tokens, extractor
        self.targets = [self._whole_target(each) for each in self.utterances]
        self.speeds, self.seed = list(speeds), seed
        self._memory: dict[tuple[int, float], Tensor] = {}
        self._free_bytes = cache_bytes
        self._feature_cache = feature_cache
        self._cached: dict[float, CachedFrames | None] = {}
        self._speakers: dict[float, dict[str, Normalization]] = {}
        self._foretold: dict[float, list[int]] = {}
        self.most_frames: int | None = None  # longer utterances are cut to so many frames, with their targets
        self.set_epoch(0)

    def _whole_target(self, utterance: Utterance) -> Tensor:
        """The token ids (L,) of an utterance's transcript. Raises DataError that names the utterance."""
        try:
            return torch.tensor(self.tokens.encode(self.tokens.transcript(utterance)), dtype=torch.long)
        except DataError as error:
            raise DataError(error.what, f"utterance '{utterance.id}', {error.where}", error.todo) from error

    def set_epoch(self, epoch: int) -> None:
        """Draw the speed of each utterance for this epoch; the same epoch gives the same speeds."""
        draw = random.Random(f"{self.seed} {epoch}")
        self._chosen = [draw.choice(self.speeds) for _ in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> tuple[Utterance, Tensor, Tensor]:
        frames = self.frames(index, self.speed_of(index))
        return self.utterances[index], frames[: self.most_frames], self.target(index)

    def target(self, index: int) -> Tensor:
        """The token ids (L,) of an utterance; if it is cut, those of its beginning, as many as its frames can hold."""
        settings, utterance = self.extractor.settings, self.utterances[index]
        if self.most_frames is None:
            return self.targets[index]
        seconds = self.most_frames * settings.hop_samples / settings.sample_rate * self.speed_of(index)
        if seconds >= utterance.duration:
            return self.targets[index]
        units = cut_transcript(utterance, self.tokens, seconds).split()
        target = torch.tensor(self.tokens.encode(" ".join(units)), dtype=torch.long)
        while ctc_frames(target) > stacked_length(self.most_frames, settings.stack):
            units.pop()
            target = torch.tensor(self.tokens.encode(" ".join(units)), dtype=torch.long)
        return target

    def speed_of(self, index: int) -> float:
        """The speed at which this epoch plays an utterance."""
        return float(self._chosen[index])

    def frames(self, index: int, speed: float = 1.0) -> Tensor:
        """The frames (T, F) of one utterance played at ``speed``, normalised if that is by speaker or utterance."""
        frames, scope = self._plain_frames(index, float(speed)), self.extractor.settings.normalization
        self._check_length(index, float(speed), len(frames))
        if scope == SPEAKER and len(frames):
            return self._speaker_statistics(float(speed))[self.utterances[index].speaker].apply(frames)
        return normalize_alone(frames) if scope == UTTERANCE else frames

    def _plain_frames(self, index: int, speed: float) -> Tensor:
        cached = self._open_cache(speed)
        if cached is not None:
            return cached[index]
        key = index, speed
        if key in self._memory:
            return self._memory[key]
        frames = self._compute(index, speed)
        size = frames.numel() * frames.element_size()
        if size <= self._free_bytes:
            self._memory[key] = frames
            self._free_bytes -= size
        return frames

    def _check_length(self, index: int, speed: float, frames: int) -> None:
        """Raise DataError if the number of frames does not fit the duration in the manifest.

        Durations may be rounded, but an utterance must not have too few frames for its target because of that.
        """
        if speed not in self._foretold:
            self._foretold[speed] = self.frame_counts(speed)
        foretold, utterance, settings = self._foretold[speed][index], self.utterances[index], self.extractor.settings
        if frames == foretold:
            return
        needed = ctc_frames(self.targets[index]) * settings.stack
        lacking = (utterance.duration * _TOLERANCE + _TOLERANCE_SECONDS) / speed
        off = abs(frames - foretold) * settings.hop_samples / settings.sample_rate > lacking
        if off or frames < needed <= foretold:
            seconds = speed * frames * settings.hop_samples / settings.sample_rate
            what = f"utterance {utterance.id}: the recording lasts {seconds:.2f} s, its manifest says "
            raise DataError(f"{what}{utterance.duration:.2f} s", utterance.wav, "restore it, or prepare the data anew")

    def _compute(self, index: int, speed: float) -> Tensor:
        samples = read_audio(self.utterances[index].wav, self.extractor.settings.sample_rate)
        return self.extractor.plain_frames(change_speed(samples, speed) if speed != 1 else samples)

    def _open_cache(self, speed: float) -> CachedFrames | None:
        """All frames on disk at ``speed``; missing ones are computed now."""
        if self._feature_cache is not None and speed not in self._cached:
            self._cached[speed] = self._feature_cache.open(
                [each.wav for each in self.utterances], self.extractor.settings, speed, self.frame_counts(speed),
                lambda index: self._compute(index, speed),
            )
        return self._cached.get(speed)

    def _speaker_statistics(self, speed: float) -> dict[str, Normalization]:
        """The statistics of each speaker who has any frames."""
        if speed not in self._speakers:
            speakers: dict[str, NormalizationAccumulator] = {}

            def add(index: int) -> None:
                frames = self._plain_frames(index, speed)
                if len(frames):
                    speaker = self.utterances[index].speaker
                    speakers.setdefault(speaker, NormalizationAccumulator()).update(frames)

            of_every(add, range(len(self)))
            self._speakers[speed] = {name: each.finish() for name, each in speakers.items()}
        return self._speakers[speed]

    def compute_features(self, speeds: Sequence[float]) -> None:
        """Fill the cache on disk at these speeds now, and not when they are first drawn."""
        for speed in speeds:
            self._open_cache(float(speed))

    def frame_counts(self, speed: float = 1.0) -> list[int]:
        """The number of frames of every utterance at ``speed``, from its duration in the manifest, rounded as in
        resampling."""
        rate, ratio = self.extractor.settings.sample_rate, speed_ratio(speed)
        whole = (math.ceil(round(each.duration * rate, 3)) for each in self.utterances)
        return [self.extractor.frame_count(math.ceil(samples / ratio)) for samples in whole]

    def normalization(self) -> Normalization:
        """Global statistics over the frames of all utterances at their own speed. Raises what ``check_recordings``
        does."""
        accumulator = NormalizationAccumulator()
        self._visit(accumulator.update)
        return accumulator.finish()

    def check_recordings(self) -> None:
        """Compute the frames of all utterances. Raises one DataError that names every recording that cannot be read or
        has another duration than its manifest says."""
        self._visit(lambda frames: None)

    def _visit(self, take: Callable[[Tensor], None]) -> None:
        if self.extractor.settings.normalization == SPEAKER:
            self._speaker_statistics(1.0)  # every frame needs them, so a fault is reported here, and not for each frame
        of_every(lambda index: take(self.frames(index)), range(len(self)))

    def unalignable(self) -> list[str]:
        """Describe each utterance whose target needs more stacked frames than it has at the highest speed."""
        problems = []
        stack = self.extractor.settings.stack
        counts = self.frame_counts(max(self.speeds))
        for index, (utterance, frames) in enumerate(zip(self.utterances, counts, strict=True)):
            needed = ctc_frames(self.targets[index])
            if stacked_length(frames, stack) < max(needed, 1):
                problems.append(f"{utterance.id} ({needed} frames needed, {stacked_length(frames, stack)} there)")
        return problems


def require_alignable(dataset: SpeechDataset, where: object, limit: int = 20) -> None:
    """Raise one DataError that lists the utterances that are too short for CTC to train on their targets."""
    problems = dataset.unalignable()
    if problems:
        raise DataError(
            f"{len(problems)} targets are longer than their frames: {listed(problems, limit)}", where,
            "take them out of the manifest, or lower stack",
        )


def require_one_token(dataset: SpeechDataset, where: object, limit: int = 20) -> None:
    """Raise one DataError that lists the utterances whose transcript is not a single token, which a class needs."""
    pairs = zip(dataset.utterances, dataset.targets, strict=True)
    problems = [f"{utterance.id} ({len(target)} tokens)" for utterance, target in pairs if len(target) != 1]
    if problems:
        raise DataError(
            f"classification needs one token for each utterance: {listed(problems, limit)}", where,
            "use manifests of single words and tokens=words, or task=transcription",
        )


def require_transcripts(dataset: SpeechDataset, where: object) -> None:
    """Raise DataError if no utterance has a transcript, because there would be no error rate."""
    if not any(len(each) for each in dataset.targets):
        raise DataError("no utterance has a transcript", where, "prepare the data with their texts")


def require_recordings(dataset: SpeechDataset, where: object, limit: int = 20) -> None:
    """Raise one DataError that lists missing recordings, before hours of work and not after."""
    missing = [str(each.wav) for each in dataset.utterances if not each.wav.exists()]
    if missing:
        what = f"{len(missing)} recordings are not there: {listed(missing, limit)}"
        raise DataError(what, where, "copy them back, or prepare the data again")

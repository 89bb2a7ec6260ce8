"""The weight of a language model and the insertion bonus, chosen on development data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from snn_asr.data.batches import by_length
from snn_asr.data.manifest import Utterance
from snn_asr.decoding.beam import BeamDecoder, BeamSettings, search
from snn_asr.decoding.greedy import merge_repeats
from snn_asr.decoding.language_models.language_model import AUTO
from snn_asr.decoding.recognizer import Recognizer
from snn_asr.errors import DataError, SnnAsrError, UsageError, as_user_error, together_or_alone
from snn_asr.scoring.error_rates import count_errors

log = logging.getLogger(__name__)

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
BATCH_SECONDS = 240.0  # of speech in one batch at most, padding included
BONUSES = (-1.0, 0.0, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class GridPoint:
    """One pair of the grid and its error rate in percent."""

    language_weight: float
    insertion_bonus: float
    error_rate: float


@dataclass(frozen=True)
class Tuning:
    """The results of all points of a grid; ``greedy`` is the error rate in percent without beam and language model.

    ``failed`` has the errors, by utterance id, of recordings that were left out; ``utterances`` counts the others.
    """

    unit: str
    utterances: int
    greedy: float
    points: tuple[GridPoint, ...]
    failed: Mapping[str, SnnAsrError] = field(default_factory=dict)

    @property
    def best(self) -> GridPoint:
        """The point with the lowest error rate and, among equals, the smallest weight and then the smallest bonus."""
        return min(self.points, key=lambda each: (each.error_rate, each.language_weight, abs(each.insertion_bonus)))

    @property
    def at_an_edge(self) -> tuple[str, ...]:
        """Which values of the best point lie at the end of the grid, so that values beyond might be better.

        The smallest weight does not count.
        """
        weights = {each.language_weight for each in self.points}
        bonuses = {each.insertion_bonus for each in self.points}
        found = []
        if len(weights) > 1 and self.best.language_weight == max(weights):
            found.append("weight")
        if len(bonuses) > 1 and self.best.insertion_bonus in (min(bonuses), max(bonuses)):
            found.append("bonus")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """JSON values; the errors of recordings that were left out are texts."""
        return {
            "unit": self.unit, "utterances": self.utterances, "greedy": self.greedy, "best": vars(self.best),
            "points": [vars(each) for each in self.points],
            "failed": {name: str(error) for name, error in self.failed.items()},
        }


def tune(
    recognizer: Recognizer, utterances: Mapping[str, Utterance], language_model: str | Path, width: int = 10,
    weights: Sequence[float] = WEIGHTS, bonuses: Sequence[float] = BONUSES, unit: str = AUTO,
    closed_vocabulary: bool = False,
) -> Tuning:
    """Decode the utterances for every pair of the grid, running the network only once.

    A recording that cannot be read or recognised is left out of every error rate and listed in the result. Raises
    UsageError for an empty grid, DataError if no utterance has a transcript, and the first recording's error if none
    can be read.
    """
    if not weights or not bonuses:
        raise UsageError("the grid is empty", "tune", "give at least one weight and one bonus")
    pairs = product(weights, bonuses)
    settings = [BeamSettings(width, *pair, closed_vocabulary=closed_vocabulary) for pair in pairs]
    decoder = BeamDecoder(recognizer.tokens, settings[0], language_model, unit)
    references = {name: recognizer.tokens.transcript(each) for name, each in utterances.items()}
    if not any(references.values()):
        raise DataError("no utterance has a transcript", todo="prepare the data with their texts")
    posteriors, failed = log_posteriors(recognizer, utterances)
    if not posteriors:
        raise next(iter(failed.values()))
    references = {name: text for name, text in references.items() if name in posteriors}
    best_classes = {name: _greedy(frames) for name, frames in posteriors.items()}
    points = []
    for each in settings:
        decoded = {name: search(frames, each, decoder.scorer)[0].tokens for name, frames in posteriors.items()}
        error_rate = _error_rate(recognizer, references, decoded)
        points.append(GridPoint(each.language_weight, each.insertion_bonus, error_rate))
        log.info("weight %g, bonus %g: %.2f %%", *vars(points[-1]).values())
    greedy = _error_rate(recognizer, references, best_classes)
    return Tuning(recognizer.tokens.unit, len(references), greedy, tuple(points), failed)


def log_posteriors(
    recognizer: Recognizer, utterances: Mapping[str, Utterance]
) -> tuple[dict[str, np.ndarray], dict[str, SnnAsrError]]:
    """The log posteriors (T, N) of each utterance, by id, computed in batches of similar lengths; and the errors, by
    id, of recordings that cannot be read or recognised."""
    every = list(utterances.values())
    found: dict[str, np.ndarray] = {}
    failed: dict[str, SnnAsrError] = {}
    for group in by_length([each.duration for each in every], BATCH_SECONDS):
        batch: list[tuple[str, Tensor]] = []
        for each in (every[index] for index in group):
            try:
                batch.append((each.id, recognizer.samples(each.wav)))
            except Exception as error:
                failed[each.id] = _described(error, each.wav)
        for (name, _), result in zip(batch, together_or_alone(recognizer.log_posteriors, batch), strict=True):
            if isinstance(result, Exception):
                failed[name] = _described(result, utterances[name].wav)
            else:
                found[name] = result
    return found, failed


def _described(error: Exception, path: Path) -> SnnAsrError:
    """The error of one recording for the user. Raises the error itself if it is a defect of the program."""
    described = as_user_error(error, path)
    if described is None:
        raise error
    return described


def _greedy(posteriors: np.ndarray) -> list[int]:
    """The token ids of the best path through log posteriors (T, N)."""
    best = merge_repeats(posteriors.argmax(axis=1).tolist(), posteriors.max(axis=1).tolist())
    return [each.token for each in best]


def _error_rate(recognizer: Recognizer, references: Mapping[str, str], decoded: Mapping[str, Sequence[int]]) -> float:
    """The error rate in percent, in the unit and with the phones that the model's tokens are scored in."""
    tokens = recognizer.tokens
    hypotheses = {name: tokens.decode(decoded[name]) for name in references}
    rate = count_errors(references, hypotheses, tokens.unit, tokens.scored_phones).error_rate
    if rate is None:
        raise DataError("no utterance has a transcript that counts", todo="prepare the data with their texts")
    return rate

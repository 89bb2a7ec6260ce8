"""Error rates of words, phones or characters, for a whole set and by speaker, and confusions.

The edits come from alignments.py, the intervals from bootstrap.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from snn_asr.data.phone_sets import phone_folding
from snn_asr.errors import DataError, UsageError, unknown_name
from snn_asr.scoring.alignments import MATCH, Alignment, ErrorCounts, align
from snn_asr.scoring.bootstrap import bootstrap_interval

UNITS = ("word", "phone", "character")
SCORING_PHONE_SET = "39"  # on which TIMIT is scored, whatever set a model was trained on
SILENCE = "sil"  # the label of all silences in TIMIT's sets of 48 and 39


@dataclass(frozen=True)
class SpeakerScore:
    """The score of one speaker: the numbers of utterances and of those with any error, and the edits."""

    utterances: int
    wrong_utterances: int
    total: ErrorCounts


@dataclass(frozen=True)
class Score:
    """The score of a set of hypotheses. Keys are utterance ids, in the order of the references.

    ``interval`` is the 95 % bootstrap interval of the error rate in percent, or None with fewer than two utterances (or
    clusters) or without any reference tokens. ``missing`` are the ids without a hypothesis, which count as deletions of
    all their tokens, and ``extra`` are ids without a reference, which do not count.
    """

    unit: str
    alignments: Mapping[str, Alignment]
    interval: tuple[float, float] | None
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @cached_property
    def utterances(self) -> dict[str, ErrorCounts]:
        """The edits of each utterance, by id."""
        return {identifier: alignment.counts for identifier, alignment in self.alignments.items()}

    @cached_property
    def total(self) -> ErrorCounts:
        """The edits of all utterances, whose ``error_rate`` is that of the set."""
        return sum(self.utterances.values(), ErrorCounts())

    @property
    def wrong_utterances(self) -> int:
        """The number of utterances with any error, from which the sentence error rate follows."""
        return sum(counts.edits > 0 for counts in self.utterances.values())

    def by_speaker(self, speakers: Mapping[str, str]) -> dict[str, SpeakerScore]:
        """The scores by speaker; ``speakers`` maps utterance ids to speakers. Raises DataError if an utterance has
        none."""
        groups: dict[str, list[ErrorCounts]] = {}
        for identifier, counts in self.utterances.items():
            if identifier not in speakers:
                raise DataError(f"utterance '{identifier}' has no speaker", todo="name a speaker for every utterance")
            groups.setdefault(speakers[identifier], []).append(counts)
        return {
            speaker: SpeakerScore(len(group), sum(counts.edits > 0 for counts in group), sum(group, ErrorCounts()))
            for speaker, group in sorted(groups.items())
        }

    def worst(self, count: int) -> list[str]:
        """The ids of the ``count`` utterances with the most edits; those without edits are left out."""
        wrong = [identifier for identifier, counts in self.utterances.items() if counts.edits]
        return sorted(wrong, key=lambda identifier: -self.utterances[identifier].edits)[:count]

    def confusions(self) -> Counter[tuple[str | None, str | None]]:
        """How often each pair (reference, hypothesis) of different tokens was aligned; None is a gap."""
        edits = (edit for alignment in self.alignments.values() for edit in alignment.edits)
        return Counter((edit.reference, edit.hypothesis) for edit in edits if edit.operation != MATCH)


def check_unit(unit: str) -> None:
    """Raise UsageError for an unknown unit."""
    if unit not in UNITS:
        raise unknown_name("unit", unit, UNITS)


def tokenize(text: str, unit: str) -> list[str]:
    """The tokens that are compared: words and phones split at white space; characters include single spaces.

    Raises UsageError for an unknown unit.
    """
    check_unit(unit)
    return list(" ".join(text.split())) if unit == "character" else text.split()


def fold_phones(transcripts: Mapping[str, str], phone_set: str | int | None) -> dict[str, str]:
    """The transcripts in TIMIT's set of 61, 48 or 39 phones, from that or a finer set; None changes nothing.

    In 48 and 39 the glottal stop ``q`` is left out, and neighbouring silences (two closures, or a closure and a pause)
    become one, as SpeechBrain scores them, so that it does not matter on which set a model was trained.
    Raises UsageError for an unknown set, and DataError for a label that cannot be folded into it.
    """
    if phone_set is None:
        return dict(transcripts)
    folding = phone_folding(phone_set)
    folded = {}
    for identifier, text in transcripts.items():
        labels = text.split()
        unknown = next((label for label in labels if label not in folding), None)
        if unknown is not None:
            what = f"'{unknown}' is none of TIMIT's phones in the set of {phone_set} or a finer one"
            raise DataError(what, f"utterance '{identifier}'", "score without a phone set, or correct the label")
        kept = (target for label in labels if (target := folding[label]) is not None)
        runs = ((label, len(list(run))) for label, run in groupby(kept))
        folded[identifier] = " ".join(" ".join([label] * (1 if label == SILENCE else count)) for label, count in runs)
    return folded


def would_fold(transcripts: Mapping[str, str]) -> bool:
    """Whether these are TIMIT's phones in a finer set than the 39 on which TIMIT is scored."""
    folding = phone_folding(SCORING_PHONE_SET)
    labels = {label for text in transcripts.values() for label in text.split()}
    return labels <= folding.keys() and any(folding[label] != label for label in labels)


def differ_in_case(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> bool:
    """Whether one side is all in capital and the other in small letters, so that nearly every word is an error."""
    one, other = ("".join(texts.values()) for texts in (references, hypotheses))
    return (one.isupper() and other.islower()) or (one.islower() and other.isupper())


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    unit: str = "word",
    *,
    phone_set: str | int | None = None,
    clusters: Mapping[str, str] | None = None,
    allow_extra: bool = False,
    seed: int = 0,
    resamples: int = 1000,
) -> Score:
    """Align every reference with the hypothesis of the same id.

    With ``phone_set`` both sides are folded first (see ``fold_phones``). The interval resamples utterances or, if
    ``clusters`` maps each id to its speaker, whole speakers.
    Raises DataError for no references, for hypotheses without a reference unless ``allow_extra``, and for an utterance
    without a cluster; UsageError for an unknown unit, and for a phone set if the unit is not phones.
    """
    check_unit(unit)
    if phone_set is not None and unit != "phone":
        raise UsageError(f"phone set {phone_set} given, but {unit}s are scored", todo="score phones (--unit phone)")
    if not references:
        raise DataError("no reference utterances to score against")
    extra = tuple(identifier for identifier in hypotheses if identifier not in references)
    if extra and not allow_extra:
        raise DataError(
            f"{len(extra)} of {len(hypotheses)} hypotheses have no reference (first: '{extra[0]}', "
            f"references begin with '{next(iter(references))}')",
            todo="give both the same utterance ids, or skip these with --allow-extra",
        )
    missing = tuple(identifier for identifier in references if identifier not in hypotheses)
    alignments = _align_all(references, hypotheses, unit, phone_set)
    counts = {identifier: alignment.counts for identifier, alignment in alignments.items()}
    interval = bootstrap_interval(counts, seed, resamples, clusters=clusters)
    return Score(unit, alignments, interval, missing, extra)


def count_errors(
    references: Mapping[str, str], hypotheses: Mapping[str, str], unit: str, phone_set: str | int | None
) -> ErrorCounts:
    """The edits of all utterances together: the total of a ``score`` without its interval and checks."""
    return sum((each.counts for each in _align_all(references, hypotheses, unit, phone_set).values()), ErrorCounts())


def _align_all(
    references: Mapping[str, str], hypotheses: Mapping[str, str], unit: str, phone_set: str | int | None
) -> dict[str, Alignment]:
    references, hypotheses = fold_phones(references, phone_set), fold_phones(hypotheses, phone_set)
    return {
        identifier: align(tokenize(text, unit), tokenize(hypotheses.get(identifier, ""), unit))
        for identifier, text in references.items()
    }

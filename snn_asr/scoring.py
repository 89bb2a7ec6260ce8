"""Error rates: alignments, insertions, deletions and substitutions, bootstrap intervals and paired comparisons.

Counts are those of Kaldi's compute-wer and of SpeechBrain. The number of edits is unique, but how it splits into
insertions, deletions and substitutions is not: "b a" read as "a c" is two substitutions, or a deletion and an
insertion around the common "a". The rule here, walking back from the end: in ties an insertion goes before a
deletion, and both go before a substitution or a match. Other scorers break ties differently (jiwer among them), so
their split may differ while the total and the rate agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rich.cells import cell_len

from snn_asr.errors import DataError, unknown_name

UNITS = ("word", "phone", "character")
OPERATIONS = MATCH, SUBSTITUTION, INSERTION, DELETION = "=SID"
GAP = "***"
CONFIDENCE_PERCENT = 95
SAMPLES_AT_ONCE = 1 << 20  # drawn indices held in memory by the bootstrap


@dataclass(frozen=True)
class ErrorCounts:
    """Edits between references and hypotheses; addable. ``reference_length`` = correct + substitutions + deletions."""

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    reference_length: int = 0
    correct: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
            self.reference_length + other.reference_length,
            self.correct + other.correct,
        )

    @property
    def edits(self) -> int:
        return self.insertions + self.deletions + self.substitutions

    @property
    def error_rate(self) -> float | None:
        """Edits in percent of the reference length; None (undefined) where the reference is empty."""
        return 100.0 * self.edits / self.reference_length if self.reference_length else None


@dataclass(frozen=True)
class Edit:
    """One column of an alignment: its operation (``= S I D``) and the tokens, None on the side that has none."""

    operation: str
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True)
class Alignment:
    """The edits that turn a reference into a hypothesis, in order."""

    edits: tuple[Edit, ...]

    @cached_property
    def counts(self) -> ErrorCounts:
        found = Counter(edit.operation for edit in self.edits)
        reference_length = len(self.edits) - found[INSERTION]
        return ErrorCounts(found[INSERTION], found[DELETION], found[SUBSTITUTION], reference_length, found[MATCH])


@dataclass(frozen=True)
class Score:
    """What a set of hypotheses scores. Keys are utterance ids, in the order of the references.

    ``interval``: 95 % bootstrap interval of the error rate in percent; None with fewer than two utterances (or
    clusters) or without any reference tokens. ``missing``: ids without a hypothesis, counted as all deletions.
    ``extra``: ids without a reference, not counted.
    """

    unit: str
    alignments: Mapping[str, Alignment]
    interval: tuple[float, float] | None
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @cached_property
    def utterances(self) -> dict[str, ErrorCounts]:
        return {identifier: alignment.counts for identifier, alignment in self.alignments.items()}

    @cached_property
    def total(self) -> ErrorCounts:
        return sum(self.utterances.values(), ErrorCounts())

    def worst(self, count: int) -> list[str]:
        """The ids of the utterances with the most edits (none without), ties in the order of the references."""
        wrong = [identifier for identifier, counts in self.utterances.items() if counts.edits]
        return sorted(wrong, key=lambda identifier: -self.utterances[identifier].edits)[:count]

    def confusions(self) -> Counter[tuple[str | None, str | None]]:
        """How often each pair (reference, hypothesis) of differing tokens was aligned; None is a gap."""
        edits = (edit for alignment in self.alignments.values() for edit in alignment.edits)
        return Counter((edit.reference, edit.hypothesis) for edit in edits if edit.operation != MATCH)


@dataclass(frozen=True)
class PairedComparison:
    """Error rate of A minus that of B, its 95 % interval (both in percentage points), and the two-sided p-value."""

    difference: float
    interval: tuple[float, float]
    p_value: float


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


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Alignment:
    """The alignment with the fewest edits (Levenshtein); ties as the module says."""
    table = _operation_table(reference, hypothesis)
    row, column = len(reference), len(hypothesis)
    edits = []
    while row or column:
        operation = OPERATIONS[table[row, column]]
        row -= operation != INSERTION
        column -= operation != DELETION
        reference_token = None if operation == INSERTION else reference[row]
        hypothesis_token = None if operation == DELETION else hypothesis[column]
        edits.append(Edit(operation, reference_token, hypothesis_token))
    return Alignment(tuple(reversed(edits)))


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    unit: str = "word",
    *,
    clusters: Mapping[str, str] | None = None,
    allow_extra: bool = False,
    seed: int = 0,
    resamples: int = 1000,
) -> Score:
    """Align every reference with the hypothesis of the same id.

    The interval resamples utterances or, where ``clusters`` maps each id to its speaker, whole speakers (utterances
    of one speaker are not independent, so that interval is the honest, wider one).
    Raises DataError for no references, for hypotheses without a reference unless ``allow_extra``, and for an
    utterance without a cluster; UsageError for an unknown unit.
    """
    if not references:
        raise DataError("no reference utterances to score against")
    extra = tuple(identifier for identifier in hypotheses if identifier not in references)
    if extra and not allow_extra:
        raise DataError(
            f"{len(extra)} of {len(hypotheses)} hypotheses have no reference (first: '{extra[0]}', "
            f"references begin with '{next(iter(references))}')",
            todo="give both the same utterance ids",
        )
    alignments = {
        identifier: align(tokenize(text, unit), tokenize(hypotheses.get(identifier, ""), unit))
        for identifier, text in references.items()
    }
    counts = {identifier: alignment.counts for identifier, alignment in alignments.items()}
    interval = bootstrap_interval(counts, seed, resamples, clusters=clusters)
    missing = tuple(identifier for identifier in references if identifier not in hypotheses)
    return Score(unit, alignments, interval, missing, extra)


def bootstrap_interval(
    counts: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]],
    seed: int = 0,
    resamples: int = 1000,
    *,
    clusters: Mapping[str, str] | None = None,
) -> tuple[float, float] | None:
    """95 % interval in percent of the error rate of one run, or of the mean rate of several (one a seed).

    Utterances (or ``clusters`` of them) are resampled, the seeds taken as given. None with fewer than two
    utterances or without any reference tokens. Raises DataError where the runs differ in utterances or references.
    """
    edits, lengths = _mean_edits(counts, None)
    values = _sum_clusters(np.array([list(edits.values()), list(lengths.values())]).T, list(lengths), clusters)
    if len(values) < 2 or not values[:, 1].any():
        return None
    return _interval(_resampled_rates(values, seed, resamples))


def paired_bootstrap(
    counts_a: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]],
    counts_b: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]],
    seed: int = 0,
    resamples: int = 10_000,
    *,
    clusters: Mapping[str, str] | None = None,
) -> PairedComparison:
    """Compare two systems on the same utterances (Bisani & Ney, ICASSP 2004: the same resample for both).

    Each side is the counts of one run or a list of them, one a seed; a side's rate is the mean over its seeds.
    Utterances (or ``clusters`` of them) are drawn jointly, so the result covers the choice of test utterances; the
    seeds are taken as given. The p-value is that of the null-centred bootstrap, P(|d* - d| >= |d|), estimated as
    (k + 1) / (resamples + 1) and therefore never 0.
    Raises DataError where the runs differ in utterances or references, or there is nothing to compare.
    """
    edits_a, lengths = _mean_edits(counts_a, None)
    edits_b, _ = _mean_edits(counts_b, lengths)
    delta = [edits_a[identifier] - edits_b[identifier] for identifier in lengths]
    values = _sum_clusters(np.array([delta, list(lengths.values())]).T, list(lengths), clusters)
    if len(values) < 2 or not values[:, 1].any():
        raise DataError("a paired comparison needs at least two utterances (or clusters) and some reference tokens")
    difference = float(100.0 * values[:, 0].sum() / values[:, 1].sum())
    resampled = _resampled_rates(values, seed, resamples)
    # The margin keeps rounding from deciding a tie, such as between resamples of few utterances.
    extreme = int(np.sum(np.abs(resampled - difference) >= abs(difference) - 1e-9))
    return PairedComparison(difference, _interval(resampled), (extreme + 1) / (len(resampled) + 1))


def format_alignment(alignment: Alignment) -> str:
    """Three lines, REF, HYP and the operations (S, I, D under the wrong ones), in columns as wide as the tokens."""
    columns = []
    for edit in alignment.edits:
        mark = "" if edit.operation == MATCH else edit.operation
        column = (shown(edit.reference), shown(edit.hypothesis), mark)
        columns.append((column, max(map(cell_len, column))))
    lines = []
    for index, title in enumerate(("REF:", "HYP:", "    ")):
        cells = [column[index] + " " * (width - cell_len(column[index])) for column, width in columns]
        lines.append(" ".join((title, *cells)).rstrip())
    return "\n".join(lines)


def shown(token: str | None) -> str:
    """A gap as stars, a space as the open box, so that both can be seen."""
    return GAP if token is None else token.replace(" ", "\N{OPEN BOX}")


def _operation_table(reference: Sequence[str], hypothesis: Sequence[str]) -> np.ndarray:
    """(R + 1, H + 1) uint8, indices into OPERATIONS: the last edit of the best alignment of the first r with the
    first h tokens. One row at a time: cost[h] = min(deletion, match or substitution, cost[h - 1] + 1), where the
    last, a recurrence along the row, is a running minimum of cost[h] - h.
    """
    codes: dict[str, int] = {}
    reference_codes = [codes.setdefault(token, len(codes)) for token in reference]
    hypothesis_codes = np.array([codes.setdefault(token, len(codes)) for token in hypothesis], dtype=np.int64)
    columns = np.arange(len(hypothesis) + 1)
    table = np.empty((len(reference) + 1, len(hypothesis) + 1), dtype=np.uint8)
    table[0], table[:, 0] = OPERATIONS.index(INSERTION), OPERATIONS.index(DELETION)
    previous = columns
    for row, code in enumerate(reference_codes, start=1):
        differs = hypothesis_codes != code
        cost = np.empty_like(columns)
        cost[0] = row
        np.minimum(previous[:-1] + differs, previous[1:] + 1, out=cost[1:])
        cost = np.minimum.accumulate(cost - columns) + columns
        operations = differs.astype(np.uint8)  # 0 match, 1 substitution
        operations[cost[1:] == previous[1:] + 1] = OPERATIONS.index(DELETION)
        operations[cost[1:] == cost[:-1] + 1] = OPERATIONS.index(INSERTION)
        table[row, 1:] = operations
        previous = cost
    return table


def _mean_edits(
    runs: Mapping[str, ErrorCounts] | Sequence[Mapping[str, ErrorCounts]], expected: Mapping[str, int] | None
) -> tuple[dict[str, float], dict[str, int]]:
    """Each utterance's edits, averaged over the runs, and its reference length; ``expected`` are the lengths due."""
    runs = [runs] if isinstance(runs, Mapping) else list(runs)
    if not runs:
        raise DataError("an error rate needs at least one run")
    if expected is None:
        expected = {identifier: counts.reference_length for identifier, counts in runs[0].items()}
    for run in runs:
        if {identifier: counts.reference_length for identifier, counts in run.items()} != expected:
            raise DataError("the runs to compare differ in utterances or references", todo="score the same test set")
    edits = {identifier: sum(run[identifier].edits for run in runs) / len(runs) for identifier in expected}
    return edits, dict(expected)


def _sum_clusters(values: np.ndarray, identifiers: list[str], clusters: Mapping[str, str] | None) -> np.ndarray:
    """(utterances, 2) values summed over each cluster: (clusters, 2); unchanged where there are none."""
    if clusters is None:
        return values
    for identifier in identifiers:
        if identifier not in clusters:
            raise DataError(f"utterance '{identifier}' has no speaker", todo="resample utterances instead")
    labels, index = np.unique([clusters[identifier] for identifier in identifiers], return_inverse=True)
    sums = np.zeros((len(labels), values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def _resampled_rates(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Rates in percent of rows (numerator, denominator) drawn with replacement; undefined rates are left out."""
    generator = np.random.default_rng(seed)
    rows_at_once = max(1, SAMPLES_AT_ONCE // len(values))
    sums = []
    for start in range(0, resamples, rows_at_once):
        shape = (min(rows_at_once, resamples - start), len(values))
        sums.append(values[generator.integers(len(values), size=shape)].sum(axis=1))
    numerators, denominators = np.concatenate(sums).T
    defined = denominators > 0
    return 100.0 * numerators[defined] / denominators[defined]


def _interval(rates: np.ndarray) -> tuple[float, float]:
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(rates, (tail, 100 - tail))
    return float(low), float(high)

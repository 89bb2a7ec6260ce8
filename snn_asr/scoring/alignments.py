"""Alignments of references with hypotheses: insertions, deletions and substitutions, and how they are shown.

Counts are those of Kaldi's compute-wer and of SpeechBrain. The number of edits is unique, but how it splits into
insertions, deletions and substitutions is not: "b a" read as "a c" is two substitutions, or a deletion and an
insertion around the common "a". The rule here, walking back from the end: in ties an insertion goes before a
deletion, and both go before a substitution or a match. Other scorers break ties differently (jiwer among them), so
their split may differ while the total and the rate agree. NIST's sclite weighs a substitution 4 and the others 3,
so that it may even prefer three insertions and three deletions to five substitutions; in practice its totals agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rich.cells import cell_len

from snn_asr.scoring import long_alignments

OPERATIONS = MATCH, SUBSTITUTION, INSERTION, DELETION = "=SID"
GAP = "***"
LARGEST_TABLE = 1 << 26  # cells of one byte, up to which the plain table is as fast


@dataclass(frozen=True)
class ErrorCounts:
    """Counts of edits, which can be added. ``reference_length`` = correct + substitutions + deletions."""

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
        """All errors: insertions, deletions and substitutions."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def error_rate(self) -> float | None:
        """Edits in percent of the reference length, or None if the reference is empty."""
        return 100.0 * self.edits / self.reference_length if self.reference_length else None


@dataclass(frozen=True)
class Edit:
    """One column of an alignment: its operation (``= S I D``) and the tokens, None on a side without one."""

    operation: str
    reference: str | None
    hypothesis: str | None


@dataclass(frozen=True)
class Alignment:
    """The edits that turn a reference into a hypothesis, in order."""

    edits: tuple[Edit, ...]

    @cached_property
    def counts(self) -> ErrorCounts:
        """The number of edits of each kind."""
        found = Counter(edit.operation for edit in self.edits)
        reference_length = len(self.edits) - found[INSERTION]
        return ErrorCounts(found[INSERTION], found[DELETION], found[SUBSTITUTION], reference_length, found[MATCH])


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Alignment:
    """The alignment with the fewest edits (Levenshtein); the module says how ties are broken.

    Long texts take some seconds and tens of MB: 180,000 characters with as many, for example, 5 s and 60 MB on one
    core.
    """
    long = len(reference) * len(hypothesis) > LARGEST_TABLE
    row, column = len(reference), len(hypothesis)
    edits = []
    for operation in (long_alignments.operations if long else _operations)(reference, hypothesis):
        row -= operation != INSERTION
        column -= operation != DELETION
        reference_token = None if operation == INSERTION else reference[row]
        hypothesis_token = None if operation == DELETION else hypothesis[column]
        edits.append(Edit(operation, reference_token, hypothesis_token))
    return Alignment(tuple(reversed(edits)))


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


def kaldi_alignments(alignments: Mapping[str, Alignment]) -> str:
    """Kaldi's ``per_utt`` format: for each utterance the reference, the hypothesis, the operations (C S I D) and
    counts.

    Fields are separated by white space, and each column is centred and as wide as its tokens. A gap is ``***``, and a
    space or line feed within a token (or an id) is an open box. The counts of ``#csid`` are correct, substituted,
    inserted, deleted.
    """
    lines = []
    for identifier, alignment in alignments.items():
        rows: tuple[list[str], ...] = ([], [], [])
        for edit in alignment.edits:
            mark = "C" if edit.operation == MATCH else edit.operation
            column = (shown(edit.reference), shown(edit.hypothesis), mark)
            width = max(map(cell_len, column))
            for row, cell in zip(rows, column, strict=True):
                row.append(_centred(cell, width))
        name, counts = shown(identifier), alignment.counts
        lines += [
            f"{name} {title}{'  '.join(row)}".rstrip()
            for title, row in zip(("ref  ", "hyp  ", "op   "), rows, strict=True)
        ]
        lines.append(f"{name} #csid {counts.correct} {counts.substitutions} {counts.insertions} {counts.deletions}")
    return "".join(line + "\n" for line in lines)


def shown(token: str | None) -> str:
    """A token in print: a gap as stars and a space as an open box, so that both can be seen."""
    return GAP if token is None else re.sub(r"\s", "\N{OPEN BOX}", token)


def _centred(cell: str, width: int) -> str:
    """A cell centred in a column of ``width`` terminal cells; an odd space goes to the left."""
    spaces = width - cell_len(cell)
    return " " * (spaces - spaces // 2) + cell + " " * (spaces // 2)


def _operations(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[str]:
    """The edits of the best alignment, from the last to the first."""
    table = _operation_table(reference, hypothesis)
    row, column = len(reference), len(hypothesis)
    while row or column:
        operation = OPERATIONS[table[row, column]]
        row -= operation != INSERTION
        column -= operation != DELETION
        yield operation


def _operation_table(reference: Sequence[str], hypothesis: Sequence[str]) -> np.ndarray:
    """A table (R + 1, H + 1) uint8 of indices into OPERATIONS: at (r, h) the last edit of the best alignment of the
    first r with the first h tokens.

    It is computed row by row: cost[h] = min(deletion, match or substitution, cost[h - 1] + 1). The last term, a
    recurrence along the row, is a running minimum of cost[h] - h.
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

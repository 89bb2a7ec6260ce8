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

from rich.cells import cell_len

from snn_asr.scoring import long_alignments

OPERATIONS = MATCH, SUBSTITUTION, INSERTION, DELETION = "=SID"
GAP = "***"
LONGEST_PLAIN = 1 << 13  # tokens of a side, up to which whole numbers of Python are as fast, and take little memory


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

    Long texts take some seconds and tens of MB (long_alignments.py).
    """
    long = max(len(reference), len(hypothesis)) > LONGEST_PLAIN
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
    lines = (["REF:"], ["HYP:"], ["    "])
    for edit in alignment.edits:
        mark = "" if edit.operation == MATCH else edit.operation
        column = (shown(edit.reference), shown(edit.hypothesis), mark)
        widths = [cell_len(cell) for cell in column]
        widest = max(widths)
        for line, cell, width in zip(lines, column, widths, strict=True):
            line.append(cell + " " * (widest - width))
    return "\n".join(" ".join(line).rstrip() for line in lines)


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
    """The edits of the best alignment, from the last to the first.

    Myers' recurrence (long_alignments.py has its equations and sources), with a row of the table of costs in whole
    numbers of Python: a bit is a hypothesis token, so that a row of any length takes some twenty operations.
    """
    places: dict[str, int] = {}
    for position, token in enumerate(hypothesis):
        places[token] = places.get(token, 0) | 1 << position
    every = (1 << len(hypothesis)) - 1
    up, down = every, 0  # bits where the cost is one more, and one less, than to the left: of an empty reference
    rises, deletes = [up], [0]
    for token in reference:
        equal = places.get(token, 0)
        diagonal = (((equal & up) + up ^ up) | equal | down) & every  # bits where the cost is that of the diagonal
        vertical = down | (every ^ (diagonal | up))
        above = (vertical << 1 | 1) & every  # before the first token every row costs one more
        up, down = ((diagonal & up) << 1 & every) | (every ^ (diagonal | above)), above & diagonal
        rises.append(up)
        deletes.append(vertical)
    row, column = len(reference), len(hypothesis)
    while row or column:
        if column and rises[row] >> column - 1 & 1:
            column -= 1
            yield INSERTION
            continue
        if not column or deletes[row] >> column - 1 & 1:
            yield DELETION
        else:
            column -= 1
            yield MATCH if hypothesis[column] == reference[row - 1] else SUBSTITUTION
        row -= 1

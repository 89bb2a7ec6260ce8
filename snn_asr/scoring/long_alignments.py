"""Alignments of long texts in little memory, with the same edits as the plain table of alignments.py gives.

Myers' bit-parallel recurrence, in the form of Hyyrö: of the table of costs, whose neighbours differ by -1, 0 or 1, a
row is held in bits, 64 hypothesis tokens a word of the machine, and the next row takes some twenty operations a word.
For a row (a reference token) and a bit j (a hypothesis token):

    rises[j], falls[j]   cost[row][j] - cost[row][j - 1] is 1, is -1
    deletes[j]           cost[row][j] - cost[row - 1][j] is 1

of which rises and deletes are just what walking back asks. Only every so many rows are kept on the way forward; on the
way back the rows between two that were kept are computed again.

Nor is all of a row needed. An alignment of few edits stays near the diagonal, so that a band of the table is enough if
no alignment of so few edits leaves it (E. Ukkonen, "Algorithms for approximate string matching", 1985). A band is tried
and, if the best alignment in it has too many edits to be sure, a wider one. So time grows with R · D / 64 and memory
with sqrt(R) · D, where D is the number of edits: 300,000 words with 15 % of errors take 3 s and 70 MB on one core.

G. Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", JACM 1999;
H. Hyyrö, "Explaining and extending the bit-parallel approximate string matching algorithm of Myers", 2001.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

_BITS = 64
_ONE, _LAST, _NONE = np.uint64(1), np.uint64(63), np.uint64(0)
FIRST_SHARE = 16  # of the tokens of both sides: so many edits are hoped for at first, and
_MORE_EDITS = 3  # times as many each time that there are more


def operations(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[str]:
    """The edits (``= S I D``) of the best alignment, from the last to the first."""
    places = _Places(reference, hypothesis)
    rows, columns = len(reference), len(hypothesis)
    wide = _Band(rows, columns, abs(columns - rows) + (columns + rows) // FIRST_SHARE)
    while (cost := (walk := _forward(places, wide)).cost) > wide.edits:
        wide = _Band(rows, columns, min(_MORE_EDITS * wide.edits + _BITS, rows + columns))
    band = _Band(rows, columns, cost)
    block = band.empty_block()
    row, column = rows, columns
    for start in reversed(band.starts):
        first, last = band.words_of(start)
        compiled_walk()(*places.of_rows(start, band.every), first, *walk.before(start, first, last), block)
        while row > start:
            word, bit = divmod(column - 1, _BITS)
            found = block[:, row - 1 - start, max(word - first, 0)] >> np.uint64(bit)
            if column and found[0] & _ONE:
                column -= 1
                yield "I"
                continue
            row -= 1
            if not column or found[1] & _ONE:
                yield "D"
                continue
            column -= 1
            yield "=" if hypothesis[column] == reference[row] else "S"
    yield from "I" * column


@dataclass(frozen=True)
class _Band:
    """The part of the table in which every alignment of at most so many ``edits`` lies, in blocks of ``every`` rows.

    Such an alignment of R with H tokens has at most (edits + H - R) / 2 insertions and (edits - H + R) / 2 deletions,
    and is never further from the diagonal than that.
    """

    rows: int
    columns: int
    edits: int

    @property
    def every(self) -> int:
        return math.isqrt(self.rows) + 1

    @property
    def starts(self) -> range:
        return range(0, self.rows, self.every)

    @property
    def words(self) -> int:
        return max(1, -(-self.columns // _BITS))

    def words_of(self, start: int) -> tuple[int, int]:
        """The first word of a block's rows, and the one behind the last."""
        insertions, deletions = (max(0, self.edits + each) // 2 for each in (self._longer, -self._longer))
        last = min(self.words, -(-(min(start + self.every, self.rows) + insertions + 1) // _BITS))
        return min(max(0, start - deletions - 1) // _BITS, last - 1), last

    def empty_block(self) -> np.ndarray:
        widest = max((last - first for first, last in map(self.words_of, self.starts)), default=1)
        return np.empty((2, self.every, widest), dtype=np.uint64)

    @property
    def _longer(self) -> int:
        return self.columns - self.rows


@dataclass(frozen=True)
class _Walk:
    """What ``_forward`` found: the cost of the best alignment in a band, and the states before each of its blocks."""

    band: _Band
    cost: int
    states: list[tuple[np.ndarray, np.ndarray]]

    def before(self, start: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Copies of ``rises`` and ``falls`` before a block, of some of the words of the band."""
        offset = self.band.words_of(start)[0]
        rises, falls = self.states[start // self.band.every]
        return rises[first - offset : last - offset].copy(), falls[first - offset : last - offset].copy()


def _forward(places: _Places, band: _Band) -> _Walk:
    """Walk through the blocks of a band.

    What lies left of it is taken to cost one more with each row, and what lies right of it one more with each column:
    as much as there is to pay, or more. So the cost is that of the best alignment if this lies in the band, and
    otherwise more than the band's edits.
    """
    rises = np.full(band.words, ~_NONE)  # of an empty reference: each hypothesis token costs one more
    falls = np.zeros(band.words, dtype=np.uint64)
    block, states = band.empty_block(), []
    cost = end = 0  # of the last column of the band, and the word behind it
    for start in band.starts:
        first, last = band.words_of(start)
        cost, end = cost + (last - end) * _BITS, last
        states.append((rises[first:last].copy(), falls[first:last].copy()))
        rows = places.of_rows(start, band.every)
        cost += compiled_walk()(*rows, first, rises[first:last], falls[first:last], block)
    cost += (band.words - end) * _BITS
    beyond = band.words * _BITS - band.columns  # columns behind the last token
    if beyond:
        of_these = ~_NONE << np.uint64(_BITS - beyond)
        cost -= int(rises[-1] & of_these).bit_count() - int(falls[-1] & of_these).bit_count()
    return _Walk(band, cost, states)


class _Places:
    """Where the hypothesis has each token of the reference: as bits for the frequent ones, as a list for the others."""

    def __init__(self, reference: Sequence[str], hypothesis: Sequence[str]) -> None:
        self.words = max(1, -(-len(hypothesis) // _BITS))
        codes: dict[str, int] = {}
        coded = np.array([codes.setdefault(token, len(codes)) for token in hypothesis], dtype=np.int64)
        self.order = np.argsort(coded, kind="stable")
        counts = np.bincount(coded, minlength=len(codes) + 1)  # the last code is of what the hypothesis does not have
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.rows = np.array([codes.get(token, len(codes)) for token in reference], dtype=np.int64)
        frequent = np.flatnonzero(counts > self.words // 4)  # few: their places alone are a quarter of all words
        self.table = np.zeros((len(frequent), self.words), dtype=np.uint64)
        self.in_table = np.full(len(counts), -1)
        self.in_table[frequent] = np.arange(len(frequent))
        for bits, code in zip(self.table, frequent, strict=True):
            packed = np.packbits(coded == code, bitorder="little")
            bits.view(np.uint8)[: len(packed)] = packed

    def of_rows(self, start: int, count: int) -> tuple[np.ndarray, ...]:
        """What ``_advance`` needs of so many rows."""
        return self.rows[start : start + count], self.in_table, self.table, self.starts, self.order


@cache
def compiled_walk() -> Callable[..., int]:
    """``_advance`` in machine code. Only here, since loading Numba takes a second."""
    from snn_asr.kernel_cache import njit

    compiled: Callable[..., int] = njit(cache=True)(_advance)
    return compiled


def _advance(
    rows: np.ndarray, in_table: np.ndarray, table: np.ndarray, starts: np.ndarray, order: np.ndarray,
    first: int, rises: np.ndarray, falls: np.ndarray, block: np.ndarray,
) -> int:
    """Go on by the rows of the tokens ``rows``: ``rises`` and ``falls``, which are those of the words from ``first``
    on, are changed in place.

    ``block`` (2, rows or more, words or more) becomes the rises and deletes of every row. Returns how much more the
    last column costs than before.
    """
    more, words = 0, len(rises)
    own = np.zeros(words, dtype=np.uint64)
    for row in range(len(rows)):
        code = rows[row]
        rare = in_table[code] < 0
        positions = order[starts[code] : starts[code + 1]]
        if rare:
            positions = positions[np.searchsorted(positions, first << 6) :]
            positions = positions[: np.searchsorted(positions, (first + words) << 6)]
            for position in positions:
                own[(position >> 6) - first] |= _ONE << np.uint64(position & 63)
        equal_bits = own if rare else table[in_table[code], first : first + words]
        carry, above_carry, under_carry = _NONE, _ONE, _NONE  # before the first word every row costs one more
        for word in range(words):
            equal, up, down = equal_bits[word], rises[word], falls[word]
            both = equal & up
            plain = both + up
            total = plain + carry
            carry = _ONE if plain < up or total < plain else _NONE
            diagonal = (total ^ up) | equal | down  # bits where the cost is that of the diagonal
            deletes = down | ~(diagonal | up)
            under = diagonal & up
            above = (deletes << _ONE) | above_carry
            above_carry = deletes >> _LAST
            rises[word] = ((under << _ONE) | under_carry) | ~(diagonal | above)
            under_carry = under >> _LAST
            falls[word] = above & diagonal
            block[0, row, word], block[1, row, word] = rises[word], deletes
        more += np.int64(above_carry) - np.int64(under_carry)
        if rare:
            for position in positions:
                own[(position >> 6) - first] = _NONE
    return more

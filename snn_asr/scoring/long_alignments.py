"""Alignments of long texts in little memory, with the same edits as the plain table of alignments.py gives.

Myers' bit-parallel recurrence, in the form of Hyyrö: of the table of costs, whose neighbours differ by -1, 0 or 1, a
row is held in bits, 64 hypothesis tokens a word of the machine, and the next row takes some twenty operations a word.
For a row (a reference token) and a bit j (a hypothesis token):

    rises[j], falls[j]   cost[row][j] - cost[row][j - 1] is 1, is -1
    deletes[j]           cost[row][j] - cost[row - 1][j] is 1

of which rises and deletes are just what walking back asks. Only every so many rows are kept on the way forward; on the
way back the rows between two that were kept are computed again. So time grows with R · H / 64, and memory with
sqrt(R) · H.

G. Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", JACM 1999;
H. Hyyrö, "Explaining and extending the bit-parallel approximate string matching algorithm of Myers", 2001.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

_BITS = 64
_ONE, _LAST, _NONE = np.uint64(1), np.uint64(63), np.uint64(0)


def operations(reference: Sequence[str], hypothesis: Sequence[str]) -> Iterator[str]:
    """The edits (``= S I D``) of the best alignment, from the last to the first."""
    advance, places = _compiled(), _Places(reference, hypothesis)
    every = math.isqrt(len(reference)) + 1
    rises = np.full(places.words, ~_NONE)  # of an empty reference: each hypothesis token costs one more
    falls = np.zeros(places.words, dtype=np.uint64)
    block = np.empty((2, every, places.words), dtype=np.uint64)
    kept = []
    for start in range(0, len(reference), every):
        kept.append((rises.copy(), falls.copy()))
        advance(*places.of_rows(start, every), rises, falls, block)
    row, column = len(reference), len(hypothesis)
    for start in range((len(kept) - 1) * every, -1, -every):
        advance(*places.of_rows(start, every), *kept.pop(), block)
        while row > start:
            word, bit = divmod(column - 1, _BITS)
            found = block[:, row - 1 - start, word] >> np.uint64(bit)
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
def _compiled() -> Callable[..., Any]:
    """``_advance`` in machine code. Only here, since loading Numba and compiling take seconds."""
    import numba

    return numba.njit(_advance)


def _advance(
    rows: np.ndarray, in_table: np.ndarray, table: np.ndarray, starts: np.ndarray, order: np.ndarray,
    rises: np.ndarray, falls: np.ndarray, block: np.ndarray,
) -> None:
    """Go on by the rows of the tokens ``rows``: ``rises`` and ``falls`` (words,) are changed in place.

    ``block`` (2, rows, words) becomes the rises and deletes of every row.
    """
    own = np.zeros(len(rises), dtype=np.uint64)
    for row in range(len(rows)):
        code = rows[row]
        rare = in_table[code] < 0
        if rare:
            for position in order[starts[code] : starts[code + 1]]:
                own[position >> 6] |= _ONE << np.uint64(position & 63)
        equal_bits = own if rare else table[in_table[code]]
        carry, above_carry, under_carry = _NONE, _ONE, _NONE  # before the first token every row costs one more
        for word in range(len(rises)):
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
        if rare:
            for position in order[starts[code] : starts[code + 1]]:
                own[position >> 6] = _NONE

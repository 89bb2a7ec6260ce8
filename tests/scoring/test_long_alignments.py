"""Long alignments are those of the plain table, edit for edit, in bounded time and memory."""

from __future__ import annotations

import random
import tracemalloc
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.scoring import alignments, long_alignments
from snn_asr.scoring.alignments import align

TOKENS = st.lists(st.sampled_from("abcd"), max_size=40)


def plain_table(reference, hypothesis) -> list[str]:
    """The edits, from the last to the first, by the whole table of costs."""
    costs = [list(range(len(hypothesis) + 1))]
    for row, token in enumerate(reference, start=1):
        costs.append([row])
        for column, other in enumerate(hypothesis, start=1):
            diagonal = costs[row - 1][column - 1] + (token != other)
            costs[row].append(min(diagonal, costs[row - 1][column] + 1, costs[row][column - 1] + 1))
    row, column, operations = len(reference), len(hypothesis), []
    while row or column:
        if column and costs[row][column] == costs[row][column - 1] + 1:
            column -= 1
            operations.append("I")
        elif row and costs[row][column] == costs[row - 1][column] + 1:
            row -= 1
            operations.append("D")
        else:
            row, column = row - 1, column - 1
            operations.append("=" if reference[row] == hypothesis[column] else "S")
    return operations


def operations(reference, hypothesis) -> list[str]:
    return [edit.operation for edit in reversed(align(reference, hypothesis).edits)]


def assert_same_edits(reference, hypothesis) -> None:
    """By both ways of aligning, and by bands that are too narrow at first, or as wide as the table."""
    expected = plain_table(reference, hypothesis)
    assert operations(reference, hypothesis) == expected
    for share in (1, 16, 10_000):
        with patch.object(alignments, "LONGEST_PLAIN", -1), patch.object(long_alignments, "FIRST_SHARE", share):
            assert operations(reference, hypothesis) == expected, share


@settings(max_examples=300)
@given(TOKENS, TOKENS)
def test_the_same_edits_as_the_plain_table(reference, hypothesis) -> None:
    assert_same_edits(reference, hypothesis)


@given(st.integers(0, 3), st.integers(0, 300))
@settings(max_examples=30)
def test_long_insertions_and_deletions(short: int, length: int) -> None:
    """Over the bounds of the machine's words."""
    texts = ["a"] * short, ["b"] * length
    for reference, hypothesis in (texts, texts[::-1]):
        assert_same_edits(reference, hypothesis)


@pytest.mark.parametrize("kept", [0.98, 0.7, 0.1])
def test_corrupted_texts_of_many_words(kept: float) -> None:
    generator = random.Random(3)
    reference = [f"w{generator.randrange(300)}" for _ in range(700)]
    hypothesis = [word if generator.random() < kept else generator.choice(reference) for word in reference]
    del hypothesis[100:180]
    hypothesis[400:400] = reference[:60]
    assert_same_edits(reference, hypothesis)
    assert_same_edits(hypothesis, reference[300:])


def test_a_text_of_a_hundred_thousand_words_needs_a_narrow_band() -> None:
    """Of few errors: a hundredth of the table is looked at."""
    generator = random.Random(5)
    reference = [f"w{generator.randrange(5000)}" for _ in range(100_000)]
    hypothesis = [word for word in reference if generator.random() < 0.998]
    looked_at = []
    advance = long_alignments.compiled_walk()

    def counting(*arguments):
        looked_at.append(len(arguments[0]) * len(arguments[6]))
        return advance(*arguments)

    with patch.object(long_alignments, "compiled_walk", lambda: counting):
        with patch.object(long_alignments, "FIRST_SHARE", 400):
            counts = align(reference, hypothesis).counts
    assert counts.deletions == counts.edits == len(reference) - len(hypothesis)
    assert sum(looked_at) < len(reference) * len(hypothesis) / 64 / 40


def test_what_is_long_takes_little_memory() -> None:
    """12,000 tokens a side, of which the plain table has 144 million costs."""
    generator = random.Random(1)
    reference = [generator.choice("abcdefgh ") for _ in range(12_000)]
    hypothesis = [each for each in reference if generator.random() < 0.9]
    assert len(reference) > alignments.LONGEST_PLAIN
    align(["a"], ["a"])
    list(long_alignments.operations(["a"], ["a"]))  # compiled
    tracemalloc.start()
    counts = align(reference, hypothesis).counts
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.deletions >= 12_000 - len(hypothesis) and counts.reference_length == 12_000
    assert peak < 30e6

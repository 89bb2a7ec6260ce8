"""Long alignments are those of the plain table, edit for edit, in bounded time and memory."""

from __future__ import annotations

import random
import tracemalloc
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.scoring import alignments, long_alignments
from snn_asr.scoring.alignments import Alignment, align

TOKENS = st.lists(st.sampled_from("abcd"), max_size=40)


def aligned_as_long(reference, hypothesis) -> Alignment:
    """``align``, as if even the smallest table were too large."""
    with patch.object(alignments, "LARGEST_TABLE", -1):
        return align(reference, hypothesis)


@settings(max_examples=300)
@given(TOKENS, TOKENS)
def test_the_same_edits_as_the_plain_table(reference, hypothesis) -> None:
    assert aligned_as_long(reference, hypothesis) == align(reference, hypothesis)


@given(st.integers(0, 3), st.integers(0, 300))
@settings(max_examples=30)
def test_long_insertions_and_deletions(short: int, length: int) -> None:
    """Over the bounds of the machine's words."""
    texts = ["a"] * short, ["b"] * length
    for reference, hypothesis in (texts, texts[::-1]):
        assert aligned_as_long(reference, hypothesis) == align(reference, hypothesis)


def test_corrupted_texts_of_many_words() -> None:
    generator = random.Random(3)
    reference = [f"w{generator.randrange(300)}" for _ in range(1500)]
    hypothesis = [word if generator.random() < 0.7 else generator.choice(reference) for word in reference]
    del hypothesis[100:180]
    hypothesis[900:900] = reference[:60]
    assert len(reference) * len(hypothesis) <= alignments.LARGEST_TABLE  # that of the plain table
    assert aligned_as_long(reference, hypothesis) == align(reference, hypothesis)


def test_what_is_long_takes_little_memory() -> None:
    """12,000 tokens a side, of which the plain table would have 144 MB."""
    generator = random.Random(1)
    reference = [generator.choice("abcdefgh ") for _ in range(12_000)]
    hypothesis = [each for each in reference if generator.random() < 0.9]
    assert len(reference) * len(hypothesis) > alignments.LARGEST_TABLE
    align(["a"], ["a"])
    list(long_alignments.operations(["a"], ["a"]))  # compiled
    tracemalloc.start()
    counts = align(reference, hypothesis).counts
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.deletions >= 12_000 - len(hypothesis) and counts.reference_length == 12_000
    assert peak < 30e6

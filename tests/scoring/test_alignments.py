"""Alignments against two independent scorers, and as people and Kaldi's scripts read them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.scoring.alignments import ErrorCounts, align, format_alignment, kaldi_alignments
from snn_asr.scoring.error_rates import score

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("insertions", "deletions", "substitutions")
TOKENS = st.lists(st.sampled_from("abcd"), max_size=14)


@cache
def speechbrain_edit_distance():
    """SpeechBrain's pure-Python module alone: importing all of SpeechBrain takes seconds."""
    package = importlib.util.find_spec("speechbrain")
    path = Path(package.submodule_search_locations[0], "utils", "edit_distance.py")
    specification = importlib.util.spec_from_file_location("speechbrain_edit_distance", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@settings(max_examples=150)
@given(TOKENS, TOKENS)
def test_alignment_is_speechbrains(reference, hypothesis):
    module = speechbrain_edit_distance()
    expected = [
        (operation, None if i is None else reference[i], None if j is None else hypothesis[j])
        for operation, i, j in module.alignment(module.op_table(reference, hypothesis))
    ]
    edits = align(reference, hypothesis).edits
    assert [(edit.operation, edit.reference, edit.hypothesis) for edit in edits] == expected


@settings(max_examples=40)
@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=5))
def test_counts_accumulate_as_speechbrains(pairs):
    references, hypotheses = zip(*pairs, strict=True)
    expected = speechbrain_edit_distance().accumulatable_wer_stats(references, hypotheses)
    total = score(
        {str(index): " ".join(reference) for index, reference in enumerate(references)},
        {str(index): " ".join(hypothesis) for index, hypothesis in enumerate(hypotheses)},
        resamples=2,
    ).total
    assert [getattr(total, kind) for kind in KINDS] == [expected[kind] for kind in KINDS]
    assert total.reference_length == expected["num_ref_tokens"]
    if total.error_rate is None:
        assert np.isnan(expected["WER"])
    else:
        assert total.error_rate == pytest.approx(expected["WER"])


@settings(max_examples=100)
@given(TOKENS, TOKENS)
def test_edits_are_jiwers(reference, hypothesis):
    expected = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    counts = align(reference, hypothesis).counts
    assert counts.edits == expected.insertions + expected.deletions + expected.substitutions
    assert counts.insertions - counts.deletions == expected.insertions - expected.deletions


@given(TOKENS, TOKENS)
def test_alignment_spells_both_sides(reference, hypothesis):
    alignment = align(reference, hypothesis)
    assert [edit.reference for edit in alignment.edits if edit.operation != "I"] == reference
    assert [edit.hypothesis for edit in alignment.edits if edit.operation != "D"] == hypothesis
    for edit in alignment.edits:
        assert (edit.operation == "=") == (edit.reference == edit.hypothesis)
        assert (edit.operation == "I") == (edit.reference is None)
    counts = alignment.counts
    assert counts.correct + counts.substitutions + counts.deletions == counts.reference_length == len(reference)
    assert counts.edits == align(hypothesis, reference).counts.edits


def test_ties_prefer_insertion_then_deletion():
    counts = align(["b", "a"], ["a", "c"]).counts
    assert (counts.insertions, counts.deletions, counts.substitutions) == (1, 1, 0)
    other = jiwer.process_words("b a", "a c")
    assert (other.insertions, other.deletions, other.substitutions) == (0, 0, 2), "the module says that jiwer differs"


def test_real_transcripts(shared_data):
    """The transcripts of two readers against each other: long, and with nothing in common but the language."""
    files = sorted((shared_data / "LibriSpeech" / "dev-clean").rglob("*.trans.txt"))[:2]
    first, second = (list(path.read_text(encoding="utf-8").split("\n")[0].partition(" ")[2]) for path in files)
    assert len(first) > 20 and len(second) > 20
    expected = speechbrain_edit_distance().accumulatable_wer_stats([first], [second])
    counts = align(first, second).counts
    assert [getattr(counts, kind) for kind in KINDS] == [expected[kind] for kind in KINDS]


def test_error_counts_add_and_rate():
    total = ErrorCounts(1, 2, 3, 10, 5) + ErrorCounts(1, 0, 0, 0, 0)
    assert total == ErrorCounts(2, 2, 3, 10, 5)
    assert (total.edits, total.error_rate) == (7, 70.0)
    assert ErrorCounts(insertions=1).error_rate is None


def test_format_alignment():
    text = format_alignment(align("the cat sat down".split(), "the bat sat right down".split()))
    assert text == (
        "REF: the cat sat ***   down\n"
        "HYP: the bat sat right down\n"
        "         S       I"
    )


def test_format_alignment_of_characters_and_wide_scripts():
    assert format_alignment(align(list("a b"), list("ab"))) == "REF: a ␣   b\nHYP: a *** b\n       D"
    assert format_alignment(align(["東京", "x"], ["tok", "x"])) == "REF: 東京 x\nHYP: tok  x\n     S"
    assert format_alignment(align([], [])) == "REF:\nHYP:\n"


def test_an_id_with_a_line_feed_stays_on_its_lines():
    assert kaldi_alignments({"u\n1": align(["a"], ["a"])}).count("\n") == 4


def test_kaldi_alignments():
    """The first is the example in Kaldi's wer_per_utt_details.pl, with the gap that its recipes write."""
    reference, hypothesis = "word-A word-B word-C word-D word-E", "word-A word-A word-B word-D word-X"
    alignments = {
        "UTT-A": align(reference.split(), hypothesis.split()),
        "UTT B": align(list("a b"), list("ab")),
        "UTT-C": align([], []),
        "UTT-D": align(["東京", "x"], ["tok", "x"]),
    }
    assert kaldi_alignments(alignments) == (GOLDEN / "alignments.per_utt").read_text(encoding="utf-8")


@settings(max_examples=50)
@given(st.dictionaries(st.text("ab-1", min_size=1, max_size=4), st.tuples(TOKENS, TOKENS), max_size=4))
def test_kaldi_alignments_read_back(pairs):
    lines = kaldi_alignments({name: align(*pair) for name, pair in pairs.items()}).splitlines()
    assert len(lines) == 4 * len(pairs)
    for index, (name, (reference, hypothesis)) in enumerate(pairs.items()):
        rows = [line.split() for line in lines[4 * index : 4 * index + 4]]
        assert [row[:2] for row in rows] == [[name, "ref"], [name, "hyp"], [name, "op"], [name, "#csid"]]
        assert [token for token in rows[0][2:] if token != "***"] == reference
        assert [token for token in rows[1][2:] if token != "***"] == hypothesis
        assert [str(rows[2][2:].count(operation)) for operation in "CSID"] == rows[3][2:]

"""Scoring against two independent scorers, against brute force, and against what is known of the bootstrap."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.errors import DataError, UsageError
from snn_asr.scoring import ErrorCounts, align, format_alignment, paired_bootstrap, score, tokenize

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


def counts_of(edits: int, reference_length: int) -> ErrorCounts:
    return ErrorCounts(substitutions=edits, reference_length=reference_length, correct=reference_length - edits)


@settings(max_examples=150, deadline=None)
@given(TOKENS, TOKENS)
def test_alignment_is_speechbrains(reference, hypothesis):
    module = speechbrain_edit_distance()
    expected = [
        (operation, None if i is None else reference[i], None if j is None else hypothesis[j])
        for operation, i, j in module.alignment(module.op_table(reference, hypothesis))
    ]
    edits = align(reference, hypothesis).edits
    assert [(edit.operation, edit.reference, edit.hypothesis) for edit in edits] == expected


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=100, deadline=None)
@given(TOKENS, TOKENS)
def test_edits_are_jiwers(reference, hypothesis):
    expected = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    counts = align(reference, hypothesis).counts
    assert counts.edits == expected.insertions + expected.deletions + expected.substitutions
    assert counts.insertions - counts.deletions == expected.insertions - expected.deletions


@settings(deadline=None)
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


@pytest.mark.parametrize(
    ("unit", "tokens"),
    [
        ("word", ["a", "bc"]),
        ("phone", ["a", "bc"]),
        ("character", ["a", " ", "b", "c"]),
    ],
)
def test_tokenize(unit, tokens):
    assert tokenize("  a\t bc\n", unit) == tokens
    assert tokenize(" \n", unit) == []


def test_unknown_unit_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'phone'"):
        score({"a": "x"}, {"a": "x"}, unit="phones")


def test_missing_hypotheses_are_deletions():
    result = score({"a": "one two", "b": "three"}, {"b": "three"})
    assert result.missing == ("a",)
    assert result.utterances == {"a": ErrorCounts(0, 2, 0, 2, 0), "b": ErrorCounts(0, 0, 0, 1, 1)}
    assert result.total.error_rate == pytest.approx(200 / 3)


def test_extra_hypotheses_are_refused_unless_allowed():
    references, hypotheses = {"a": "one"}, {"a": "one", "x/a": "two"}
    with pytest.raises(DataError, match="1 of 2 hypotheses have no reference .*'x/a'"):
        score(references, hypotheses)
    result = score(references, hypotheses, allow_extra=True)
    assert result.extra == ("x/a",)
    assert result.total.edits == 0


def test_no_references_is_an_error():
    with pytest.raises(DataError, match="no reference"):
        score({}, {})


def test_empty_references_leave_the_rate_undefined():
    result = score({"a": "", "b": ""}, {"a": "x", "b": ""})
    assert (result.total.edits, result.total.error_rate, result.interval) == (1, None, None)


def test_worst_and_confusions():
    result = score({"a": "x y", "b": "x x x", "c": "y"}, {"a": "x z", "b": "", "c": "y"})
    assert result.worst(5) == ["b", "a"]
    assert result.worst(1) == ["b"]
    assert result.confusions() == {("y", "z"): 1, ("x", None): 3}


def test_interval_is_that_of_the_binomial():
    """400 one-word utterances, a quarter of them wrong: the rate's standard error is sqrt(p (1 - p) / n)."""
    references = {str(index): "yes" for index in range(400)}
    hypotheses = {str(index): "no" if index % 4 == 0 else "yes" for index in range(400)}
    low, high = score(references, hypotheses, resamples=4000).interval
    half_width = 1.96 * 100 * np.sqrt(0.25 * 0.75 / 400)
    assert (low, high) == pytest.approx((25 - half_width, 25 + half_width), abs=0.5)
    assert score(references, hypotheses, seed=3).interval == score(references, hypotheses, seed=3).interval


def test_interval_over_speakers_is_wider():
    """Whole speakers right or wrong: 10 independent observations, not 200."""
    references = {f"{speaker}-{index}": "yes" for speaker in range(10) for index in range(20)}
    hypotheses = {identifier: "no" if identifier[0] < "5" else "yes" for identifier in references}
    clusters = {identifier: identifier[0] for identifier in references}
    low, high = score(references, hypotheses, clusters=clusters, resamples=4000).interval
    # Correct speakers among 10 drawn: binomial(10, 1/2), whose 2.5 % and 97.5 % quantiles are 2 and 8.
    assert (low, high) == (20.0, 80.0)
    narrow = score(references, hypotheses).interval
    assert high - low > 3 * (narrow[1] - narrow[0])
    with pytest.raises(DataError, match="'9-19' has no speaker"):
        score(references, hypotheses, clusters={key: value for key, value in clusters.items() if key != "9-19"})


def test_no_interval_from_one_utterance():
    assert score({"a": "x y"}, {"a": "x"}).interval is None


def test_paired_bootstrap_equals_full_enumeration():
    """Three utterances have only 27 resamples: their exact distribution is the expectation."""
    edits_a, edits_b, lengths = [3, 1, 4], [1, 1, 1], [4, 5, 7]
    rates = [
        100 * sum(edits_a[i] - edits_b[i] for i in draw) / sum(lengths[i] for i in draw)
        for draw in itertools.product(range(3), repeat=3)
    ]
    difference = 100 * (8 - 3) / 16
    exact = np.mean([abs(rate - difference) >= difference - 1e-9 for rate in rates])
    runs = [
        {str(index): counts_of(*pair) for index, pair in enumerate(zip(edits, lengths, strict=True))}
        for edits in (edits_a, edits_b)
    ]
    comparison = paired_bootstrap(*runs, resamples=20_000)
    assert comparison.difference == pytest.approx(difference)
    assert comparison.p_value == pytest.approx(exact, abs=0.01)
    assert min(rates) - 1e-9 <= comparison.interval[0] < comparison.interval[1] <= max(rates) + 1e-9


def test_paired_bootstrap_never_reports_zero():
    bad, good = ({str(index): counts_of(edits, 10) for index in range(50)} for edits in (5, 1))
    comparison = paired_bootstrap(bad, good, resamples=999)
    assert comparison.difference == pytest.approx(40)
    assert comparison.p_value == 1 / 1000


def test_paired_bootstrap_of_equal_systems():
    run = {str(index): counts_of(index % 3, 10) for index in range(30)}
    comparison = paired_bootstrap(run, run, resamples=99)
    assert (comparison.difference, comparison.interval, comparison.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_paired_bootstrap_pools_seeds():
    """Two seeds on one side, one on the other: a side's rate is the mean over its seeds, its sign that of A - B."""
    first = {"u": counts_of(4, 10), "v": counts_of(0, 10)}
    second = {"u": counts_of(0, 10), "v": counts_of(2, 10)}
    other = {"u": counts_of(1, 10), "v": counts_of(1, 10)}
    comparison = paired_bootstrap([first, second], other, resamples=500)
    assert comparison.difference == pytest.approx(15 - 10)
    mirrored = paired_bootstrap(other, [first, second], resamples=500)
    assert mirrored.difference == -comparison.difference
    assert mirrored.p_value == comparison.p_value


def test_paired_bootstrap_is_calibrated():
    """Between systems that truly do not differ, p < 0.1 comes up in about a tenth of the test sets."""
    generator = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        edits = generator.binomial(10, 0.2, size=(2, 60)).tolist()
        runs = [{str(index): counts_of(count, 10) for index, count in enumerate(row)} for row in edits]
        p_values.append(paired_bootstrap(*runs, resamples=200).p_value)
    assert 0.04 < np.mean(np.array(p_values) < 0.1) < 0.18


@pytest.mark.parametrize(
    "other",
    [
        {"u": counts_of(1, 10)},
        {"u": counts_of(1, 10), "w": counts_of(1, 10)},
        {"u": counts_of(1, 10), "v": counts_of(1, 11)},
    ],
    ids=["fewer", "other id", "other reference"],
)
def test_paired_bootstrap_wants_the_same_utterances(other):
    run = {"u": counts_of(1, 10), "v": counts_of(1, 10)}
    with pytest.raises(DataError, match="differ in utterances or references"):
        paired_bootstrap(run, [run, other])


def test_paired_bootstrap_needs_something_to_compare():
    with pytest.raises(DataError, match="at least one run"):
        paired_bootstrap([], [])
    with pytest.raises(DataError, match="at least two utterances"):
        paired_bootstrap({"u": counts_of(1, 10)}, {"u": counts_of(2, 10)})
    run = {"u": counts_of(1, 10), "v": counts_of(1, 10)}
    with pytest.raises(DataError, match="at least two utterances"):
        paired_bootstrap(run, run, clusters={"u": "x", "v": "x"})


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


def test_imports_neither_torch_nor_speechbrain():
    script = (
        "import sys, snn_asr.scoring, snn_asr.transcripts, snn_asr.writers;"
        "print(sorted({'torch', 'speechbrain', 'numba', 'sentencepiece'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Scores of whole sets: units, folding, missing and extra hypotheses, speakers, confusions."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data.phone_sets import phone_folding
from snn_asr.errors import DataError, UsageError
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.error_rates import fold_phones, score, tokenize, would_fold


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


def test_by_speaker():
    references = {"b-1": "x y", "a-1": "x", "b-2": "x x"}
    hypotheses = {"b-1": "x z", "a-1": "x", "b-2": "x x x"}
    result = score(references, hypotheses)
    speakers = {identifier: identifier[0] for identifier in references}
    found = result.by_speaker(speakers)
    assert list(found) == ["a", "b"]
    assert (found["a"].utterances, found["a"].wrong_utterances, found["a"].total) == (1, 0, ErrorCounts(0, 0, 0, 1, 1))
    assert (found["b"].utterances, found["b"].wrong_utterances, found["b"].total) == (2, 2, ErrorCounts(1, 0, 1, 4, 3))
    assert result.wrong_utterances == 2
    with pytest.raises(DataError, match="'b-2' has no speaker"):
        result.by_speaker({"a-1": "a", "b-1": "b"})


# One utterance, "she had", as each set of labels spells it; by hand after Lee and Hon's table.
SPELLINGS = {
    "61": "h# sh ix hv ae dcl d q pau",
    "48": "sil sh ix hh ae vcl d sil",
    "39": "sil sh ih hh ae sil d sil",
}


@pytest.mark.parametrize("reference", SPELLINGS)
@pytest.mark.parametrize("hypothesis", SPELLINGS)
def test_folding_makes_all_sets_one(reference, hypothesis):
    result = score({"a": SPELLINGS[reference]}, {"a": SPELLINGS[hypothesis]}, "phone", phone_set="39")
    assert result.total == ErrorCounts(0, 0, 0, 8, 8)


@pytest.mark.parametrize(
    ("phone_set", "expected"),
    [
        ("61", "bcl epi kcl k q q ax-h axr pau h#"),
        ("48", "vcl epi cl k ax er sil"),
        ("39", "sil k ah er sil"),
    ],
)
def test_silences_that_meet_become_one_and_glottal_stops_go(phone_set, expected):
    assert fold_phones({"a": "bcl epi kcl k q q ax-h axr pau h#"}, phone_set) == {"a": expected}


def test_equal_phones_that_meet_stay_two():
    assert fold_phones({"a": "ix ih q iy"}, 39) == {"a": "ih ih iy"}


@settings(max_examples=50)
@given(st.lists(st.sampled_from(sorted(phone_folding("61"))), max_size=12))
def test_folding_by_way_of_a_coarser_set_is_the_same(labels):
    text = {"a": " ".join(labels)}
    direct = fold_phones(text, "39")
    assert fold_phones(fold_phones(text, "48"), "39") == direct == fold_phones(direct, "39")


def test_folding_counts_what_is_left():
    """Wrong within a class is right; the missing utterance's deletions are those of its folded phones."""
    references, hypotheses = {"a": "ao n", "b": "bcl b q"}, {"a": "aa en"}
    assert score(references, hypotheses, "phone").total == ErrorCounts(0, 3, 2, 5, 0)
    result = score(references, hypotheses, "phone", phone_set=39)
    assert (result.total, result.missing) == (ErrorCounts(0, 2, 0, 4, 2), ("b",))


def test_folding_errors():
    with pytest.raises(DataError, match="utterance 'u7': 'ih2' is none of TIMIT's phones"):
        score({"u7": "ih"}, {"u7": "ih2"}, "phone", phone_set="39")
    with pytest.raises(UsageError, match="unknown phone set '40'"):
        score({"a": "ih"}, {"a": "ih"}, "phone", phone_set="40")
    with pytest.raises(UsageError, match="phone set 39 given, but words are scored"):
        score({"a": "ih"}, {"a": "ih"}, phone_set="39")


def test_would_fold():
    assert would_fold({"a": "sil ih", "b": "bcl b"})
    assert not would_fold({"a": "sil ih"}), "already the 39"
    assert not would_fold({"a": "bcl ih2"}), "not TIMIT's"
    assert not would_fold({"a": ""})


def test_folding_of_real_phones(shared_data):
    """Against an independent reading: silences and closures by their names, not by the table."""
    files = sorted((shared_data / "timit_sample").rglob("*.PHN"))
    phones = {path.stem: [line.split()[2] for line in path.read_text().splitlines()] for path in files}
    folded = fold_phones({name: " ".join(labels) for name, labels in phones.items()}, "39")
    met = 0
    for name, labels in phones.items():
        quiet = [label.endswith("cl") or label in ("h#", "pau", "epi") for label in labels if label != "q"]
        pairs = zip(quiet, quiet[1:], strict=False)
        repeated = sum(first and second for first, second in pairs)
        assert len(folded[name].split()) == len(quiet) - repeated
        met += repeated
    assert met > 0


def test_imports_neither_torch_nor_speechbrain():
    script = (
        "import sys, snn_asr.scoring.score_files, snn_asr.scoring.score_report, snn_asr.decoding.files.writers;"
        "print(sorted({'torch', 'speechbrain', 'numba', 'sentencepiece'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

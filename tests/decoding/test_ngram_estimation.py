"""Kneser-Ney estimation: counts and probabilities by hand, lmplz's own output, and sums to one."""

from __future__ import annotations

import gzip
import math
import random
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_asr.decoding.language_models.arpa import read_arpa, write_arpa
from snn_asr.decoding.language_models.language_model import load_language_model
from snn_asr.decoding.language_models.ngram_estimation import LONGEST_WORD, MAXIMUM_ORDER, adjusted_counts, estimate
from snn_asr.decoding.language_models.ngram_model import END, START, UNKNOWN, NgramModel
from snn_asr.errors import DataError, UsageError

GOLDEN = Path(__file__).parents[1] / "golden"  # lmplz -o 3 --discount_fallback < lmplz.txt
WORDS = "abcde"

corpora = st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=12).filter(any)


def probability(model: NgramModel, text: str) -> float:
    return 10 ** model.probabilities[tuple(text.split())]


def test_counts_by_hand():
    """Of the highest order and after <s>: occurrences; else different words before."""
    counts = adjusted_counts([["a", "b"], ["a", "b"], ["b"]], 3)
    assert counts[2] == {
        (START, "a", "b"): 2, ("a", "b", END): 2, (START, "b", END): 1
    }
    assert counts[1] == {(START, "a"): 2, (START, "b"): 1, ("a", "b"): 1, ("b", END): 2}
    assert counts[0] == {("a",): 1, ("b",): 2, (END,): 1}


def test_probabilities_by_hand():
    """Sentences "a b" twice and "a c".

    Order 1: a, b, c have one word before them, </s> has two; no n-gram has three, so that D = 1/2, 1, 3/2 and
    b() = (3/2 + 1) / 5 = 1/2, spread over a, b, c, </s>, <unk>.
    Order 2: t = 2, 2, 1, 0, Y = 1/3, D = 1/3, 3/2, 3.
    """
    model = estimate([["a", "b"], ["a", "b"], ["a", "c"]], 2)
    expected = {
        "a": Fraction(1, 5), "b": Fraction(1, 5), "c": Fraction(1, 5), END: Fraction(3, 10), UNKNOWN: Fraction(1, 10),
        f"{START} a": Fraction(1, 5), "a b": Fraction(13, 45), "a c": Fraction(31, 90), f"b {END}": Fraction(19, 40),
        f"c {END}": Fraction(23, 30),
    }
    assert {" ".join(ngram) for ngram in model.probabilities} == expected.keys() | {START}
    for text, value in expected.items():
        assert probability(model, text) == pytest.approx(float(value))
    backoffs = {START: 1, "a": Fraction(11, 18), "b": Fraction(3, 4), "c": Fraction(1, 3), END: 1, UNKNOWN: 1}
    assert {ngram[0]: 10**value for ngram, value in model.backoffs.items()} == pytest.approx(
        {word: float(value) for word, value in backoffs.items()}
    )


def assert_equal(ours: NgramModel, theirs: NgramModel) -> None:
    """To the single precision, and the six digits, that lmplz works and writes with."""
    assert ours.order == theirs.order
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=2e-6)
    assert ours.backoffs == pytest.approx(theirs.backoffs, abs=2e-6)


def test_the_model_is_that_of_lmplz(caplog):
    text = (GOLDEN / "lmplz.txt").read_text(encoding="utf-8")
    ours = estimate([line.split() for line in text.splitlines()], 3)
    assert_equal(ours, read_arpa(GOLDEN / "lmplz.arpa"))
    assert len(caplog.records) == 1 and "discounts of order 1: (0.5, 1.0, 1.5)" in caplog.text


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not on the PATH")
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_model_is_that_of_the_lmplz_installed(order, tmp_path):
    draw = random.Random(order)
    sentences = [[str(int(draw.expovariate(0.2))) for _ in range(draw.randrange(9))] for _ in range(200)]
    text = "".join(" ".join(each) + "\n" for each in sentences)
    command = ["lmplz", "-o", str(order), "--discount_fallback", "-S", "50M", "-T", str(tmp_path)]
    arpa = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
    (tmp_path / "theirs.arpa").write_bytes(arpa)
    assert_equal(estimate(sentences, order), read_arpa(tmp_path / "theirs.arpa"))


@given(corpora, st.integers(1, 4))
def test_the_probabilities_after_any_context_sum_to_one(sentences, order):
    model = estimate(sentences, order)
    words = [ngram[0] for ngram in model.probabilities if len(ngram) == 1 and ngram != (START,)]
    assert {UNKNOWN, END, *sum(sentences, [])} == set(words)
    for context in [(), *model.backoffs, ("never", "seen")[: order - 1]]:
        assert math.fsum(10 ** model.score(word, context)[0] for word in words) == pytest.approx(1)


@given(corpora, st.integers(1, 4))
def test_a_file_holds_the_model(tmp_path_factory, sentences, order):
    path = tmp_path_factory.mktemp("arpa") / "model.arpa"
    model = estimate(sentences, order)
    write_arpa(path, model)
    again = read_arpa(path)
    assert again.order == order
    assert again.probabilities == pytest.approx(model.probabilities, abs=1e-6)
    assert again.backoffs == pytest.approx(model.backoffs, abs=1e-6)


def test_a_frequent_sentence_is_likelier_than_a_rare_one_and_that_than_nonsense():
    model = estimate([["one", "two"]] * 5 + [["two", "one"]] * 2 + [["three"]], 3)

    def score(text: str) -> float:
        total, state = 0.0, model.start
        for word in (*text.split(), END):
            log10, state = model.score(word, state)
            total += log10
        return total

    assert score("one two") > score("two one") > score("two two") > score("four five")


def test_words_are_no_longer_than_what_reads_the_file_takes(tmp_path):
    longest = ["a" * LONGEST_WORD] * MAXIMUM_ORDER
    write_arpa(tmp_path / "long.arpa", estimate([longest], MAXIMUM_ORDER))
    assert read_arpa(tmp_path / "long.arpa").order == MAXIMUM_ORDER
    with pytest.raises(DataError, match="a word of more than 10000 characters"):
        estimate([[*longest, "a" * (LONGEST_WORD + 1)]], 3)


@pytest.mark.parametrize("word", [START, END, UNKNOWN])
def test_marks_are_no_words(word):
    with pytest.raises(DataError, match=f"'{word}' is not a word"):
        estimate([["a", word]], 2)


@pytest.mark.parametrize("sentences", [[], [[]], [[], []]])
def test_nothing_cannot_be_estimated_from(sentences):
    with pytest.raises(DataError, match="no words"):
        estimate(sentences, 2)


@pytest.mark.parametrize("order", [0, 7])
def test_an_impossible_order(order):
    with pytest.raises(UsageError, match=f"order {order}"):
        estimate([["a"]], order)


def test_the_name_says_whether_it_is_compressed(tmp_path):
    model = estimate([["one", "two"]], 2)
    for name in ("lm.arpa", "lm.arpa.gz"):
        write_arpa(tmp_path / name, model)
    packed = (tmp_path / "lm.arpa.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "lm.arpa").read_bytes()
    write_arpa(tmp_path / "lm.arpa.gz", model)
    assert (tmp_path / "lm.arpa.gz").read_bytes() == packed, "repeatable"
    assert load_language_model(tmp_path / "lm.arpa.gz").vocabulary == model.vocabulary
    with pytest.raises(UsageError, match="not written as .xz"):
        write_arpa(tmp_path / "lm.arpa.xz", model)

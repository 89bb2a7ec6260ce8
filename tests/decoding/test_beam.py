"""Beam search against the sum over every alignment, with and without a language model; speed."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from itertools import groupby, product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_asr.data.tokens import CharacterTokens, WordTokens
from snn_asr.decoding.beam import BeamDecoder, BeamSettings, search
from snn_asr.decoding.hypothesis import WORD_START
from snn_asr.decoding.language_models.arpa import write_arpa
from snn_asr.decoding.language_models.language_model import AUTO, TOKEN, WORD, spelled
from snn_asr.decoding.language_models.ngram_estimation import estimate
from snn_asr.decoding.language_models.ngram_model import END
from snn_asr.decoding.language_models.prefix_scorers import TokenScorer, WordScorer, choose_unit, scorer_of
from snn_asr.errors import DataError, UsageError

EVERYTHING = 3**5
sizes = st.tuples(st.integers(0, 5), st.integers(2, 3), st.integers(0, 10**6))
weights = st.tuples(st.floats(0, 2), st.floats(-3, 3))

LETTERS = CharacterTokens([" ", "a"])
PIECES = SimpleNamespace(kind="sentencepiece", size=3, labels=["<blank>", f"{WORD_START}a", "b"])
WORDS = WordTokens(["one", "two"])
WORD_MODEL = estimate([["a", "aa"], ["a"], ["aa", "a", "ab"], ["a", "aa", "abb"], ["ab"]], 3)
LETTER_MODEL = estimate([["a", "<space>", "a", "a"], ["a"], ["a", "a", "<space>", "a"]], 3)
PIECE_MODEL = estimate([[PIECES.labels[1], "b"], [PIECES.labels[1]], ["b", "b"]], 2)
ONE_MODEL = estimate([["one"], ["one", "one"]], 2)
SPOKEN_MODEL = estimate([["one", "two"], ["two", "one", "one"], ["two"]], 2)


def random_posteriors(frames: int, size: int, seed: int) -> np.ndarray:
    logits = 2 * np.random.default_rng(seed).standard_normal((frames, size))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def brute_force(log_posteriors: np.ndarray) -> dict[tuple[int, ...], float]:
    """ln of the summed probability of all alignments of every token sequence."""
    frames, size = log_posteriors.shape
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(size), repeat=frames):
        tokens = tuple(token for token, _ in groupby(path) if token)
        sums[tokens] += math.exp(sum(log_posteriors[frame, token] for frame, token in enumerate(path)))
    return {tokens: math.log(total) for tokens, total in sums.items()}


def language_score(model, words: list[str], weight: float, bonus: float) -> float:
    total, state = 0.0, model.start
    for word in (*words, END):
        log10, state = model.score(word, state)
        total += log10
    return weight * math.log(10) * total + bonus * len(words)


def assert_exact(log_posteriors, scorer, settings, expected: dict[tuple[int, ...], float]) -> None:
    found = search(log_posteriors, settings, scorer)
    assert {each.tokens: each.score for each in found} == pytest.approx(expected, abs=1e-9)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


@given(sizes)
def test_a_beam_for_everything_sums_all_alignments(size):
    log_posteriors = random_posteriors(*size)
    expected = brute_force(log_posteriors)
    assert_exact(log_posteriors, None, BeamSettings(EVERYTHING), expected)
    assert all(each.acoustic == each.score for each in search(log_posteriors, BeamSettings(4)))


@pytest.mark.parametrize("closed", [False, True], ids=["any words", "known words"])
@pytest.mark.parametrize(
    ("unit", "model", "tokens", "read"),
    [
        (WORD, WORD_MODEL, LETTERS, lambda labels: "".join(labels).split()),
        (WORD, WORD_MODEL, PIECES, lambda labels: "".join(labels).replace(WORD_START, " ").split()),
        (TOKEN, LETTER_MODEL, LETTERS, lambda labels: [each.replace(" ", "<space>") for each in labels]),
        (TOKEN, PIECE_MODEL, PIECES, list),
        (TOKEN, SPOKEN_MODEL, WORDS, list),
        (TOKEN, ONE_MODEL, WORDS, list),
    ],
    ids=["words of letters", "words of pieces", "letters", "pieces", "words", "one word of two"],
)
@given(st.integers(0, 5), st.integers(0, 10**6), weights)
def test_with_a_language_model_every_sequence_has_its_score(unit, model, tokens, read, closed, frames, seed, chosen):
    log_posteriors = random_posteriors(frames, 3, seed)
    expected = {}
    for sequence, acoustic in brute_force(log_posteriors).items():
        words = read([tokens.labels[each] for each in sequence])
        if not closed or all(word in model for word in words):
            expected[sequence] = acoustic + language_score(model, words, *chosen)
    settings = BeamSettings(EVERYTHING, *chosen, closed_vocabulary=closed)
    assert_exact(log_posteriors, scorer_of(model, tokens, unit, closed), settings, expected)


@given(st.integers(1, 5), st.integers(0, 10**6), weights, st.integers(1, 3))
def test_a_narrow_beam_of_known_words_finds_nothing_else_and_never_overrates(frames, seed, chosen, width):
    """Not even where all it keeps ends within a word: only "aba" is known, and most ends are not its."""
    model = estimate([["aba"]], 2)
    tokens = CharacterTokens(["a", "b", " "])
    log_posteriors = random_posteriors(frames, 4, seed)
    settings = BeamSettings(width, *chosen, closed_vocabulary=True)
    found = search(log_posteriors, settings, scorer_of(model, tokens, WORD, closed_vocabulary=True))
    exact = brute_force(log_posteriors)
    assert found and len({each.tokens for each in found}) == len(found)
    for each in found:
        words = "".join(tokens.labels[token] for token in each.tokens).split()
        assert set(words) <= {"aba"}
        assert each.acoustic <= exact[each.tokens] + 1e-9
        assert each.score <= exact[each.tokens] + language_score(model, words, *chosen) + 1e-9


def test_known_words_are_found_where_letters_say_others():
    """"ac" is what is heard; of "ab" and "cc", which are known, "ab" is nearer."""
    tokens = CharacterTokens(["a", "b", "c"])
    frames = np.log(np.array([[0.1, 0.8, 0.05, 0.05], [0.1, 0.05, 0.25, 0.6]]))
    model = estimate([["ab"], ["cc"]], 1)
    heard = [search(frames, BeamSettings(4, 0.5, closed_vocabulary=closed), scorer_of(model, tokens, WORD, closed))[0]
             for closed in (False, True)]
    assert [tokens.decode(each.tokens) for each in heard] == ["ac", "ab"]


def test_the_words_of_a_closed_vocabulary_have_to_be_told():
    binary = SimpleNamespace(start=(), vocabulary=None, score=len)
    with pytest.raises(UsageError, match="lm.bin: a binary file, .*; give the ARPA file"):
        scorer_of(binary, LETTERS, WORD, True, "lm.bin")
    with pytest.raises(UsageError, match="there is no language model"):
        BeamDecoder(LETTERS, BeamSettings(closed_vocabulary=True))


@given(st.integers(1, 6), st.integers(0, 10**6), st.integers(1, 12))
def test_a_narrow_beam_keeps_so_many_and_never_overrates(frames, seed, width):
    log_posteriors = random_posteriors(frames, 3, seed)
    expected = brute_force(log_posteriors)
    found = search(log_posteriors, BeamSettings(width))
    assert 1 <= len(found) <= width and len({each.tokens for each in found}) == len(found)
    assert all(each.score <= expected[each.tokens] + 1e-9 for each in found)


def test_a_prefix_that_comes_back_is_the_one_it_was():
    """Were it another, its child might be in the beam twice. On flat posteriors all come and go."""
    for seed in range(20):
        log_posteriors = random_posteriors(40, 4, seed) / 8
        found = search(log_posteriors, BeamSettings(6))
        assert len({each.tokens for each in found}) == len(found) == 6


def test_the_sum_over_alignments_may_beat_the_best_one():
    """Greedy reads nothing (0.36); "a" has less at its best (0.24), but three alignments (0.64)."""
    posteriors = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    best, second = search(posteriors, BeamSettings(2))
    assert (best.tokens, second.tokens) == ((1,), ())
    assert (math.exp(best.score), math.exp(second.score)) == pytest.approx((0.64, 0.36))


def test_the_language_model_decides_between_like_sounds():
    posteriors = np.log(np.array([[0.02, 0.49, 0.49], [0.96, 0.02, 0.02], [0.02, 0.49, 0.49]]))
    scorer = TokenScorer(estimate([["one", "two"]] * 3 + [["two"]], 2), WORDS)
    assert search(posteriors, BeamSettings(10, 1.0), scorer)[0].tokens == (1, 2)
    assert len(search(posteriors, BeamSettings(10, 1.0, -30.0), scorer)[0].tokens) == 0
    assert len(search(posteriors, BeamSettings(10, 1.0, 30.0), scorer)[0].tokens) > 1


def test_impossible_tokens_never_appear():
    posteriors = np.array([[0.0, -np.inf, -np.inf], [-np.inf, -np.inf, 0.0]])
    assert [each.tokens for each in search(posteriors, BeamSettings(10))] == [(2,)]


def test_what_is_no_number_is_refused():
    posteriors = random_posteriors(3, 3, 0)
    posteriors[1, 2] = np.nan
    with pytest.raises(DataError, match="overflows"):
        search(posteriors, BeamSettings(4))


@pytest.mark.parametrize(
    ("model", "tokens", "asked", "found"),
    [
        (WORD_MODEL, LETTERS, AUTO, WORD),
        (LETTER_MODEL, LETTERS, AUTO, TOKEN),
        (LETTER_MODEL, LETTERS, WORD, WORD),
        (PIECE_MODEL, PIECES, AUTO, TOKEN),
        (WORD_MODEL, PIECES, AUTO, WORD),
        (SPOKEN_MODEL, WORDS, AUTO, TOKEN),
        (SPOKEN_MODEL, WORDS, WORD, TOKEN),  # the same
    ],
)
def test_the_unit_is_found_from_the_words_of_the_model(model, tokens, asked, found):
    assert choose_unit(model, tokens, asked, "lm.arpa") == found


def test_models_of_other_words_are_refused():
    with pytest.raises(DataError, match="lm.arpa: knows none of the words"):
        choose_unit(WORD_MODEL, WORDS, AUTO, "lm.arpa")
    with pytest.raises(DataError, match="knows none of the characters"):
        choose_unit(SPOKEN_MODEL, LETTERS, TOKEN, "lm.arpa")
    with pytest.raises(UsageError, match="--lm-unit: .*did you mean 'word'"):
        choose_unit(WORD_MODEL, LETTERS, "words", "lm.arpa")


@pytest.mark.parametrize(
    "values", [{"width": 0}, {"alternatives": 0}, {"language_weight": math.nan}, {"insertion_bonus": math.inf}]
)
def test_settings_that_cannot_work(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        BeamSettings(**values)


def test_a_decoder_says_what_its_results_depend_on(tmp_path):
    settings = BeamSettings(5, 0.75, 1.0)
    write_arpa(tmp_path / "lm.arpa", WORD_MODEL)
    decoder = BeamDecoder(LETTERS, settings, tmp_path / "lm.arpa")
    posteriors = random_posteriors(5, 3, 1)
    expected = search(posteriors, settings, WordScorer(WORD_MODEL, LETTERS))
    assert [each.tokens for each in decoder(posteriors)] == [each.tokens for each in expected]
    first = decoder.identity
    write_arpa(tmp_path / "lm.arpa", LETTER_MODEL)
    second = BeamDecoder(LETTERS, settings, tmp_path / "lm.arpa").identity
    assert first["level"] == WORD and second["level"] == TOKEN
    assert first["language_model"] != second["language_model"]
    assert BeamDecoder(LETTERS, settings).identity == {
        "width": 5, "language_weight": 0.75, "insertion_bonus": 1.0, "alternatives": 10,
        "closed_vocabulary": False,
    }
    assert BeamDecoder(LETTERS, settings)(posteriors)[0] == search(posteriors, settings)[0]


@pytest.mark.parametrize("unit", [None, TOKEN, WORD])
def test_ten_prefixes_over_a_thousand_flat_frames_take_less_than_a_second(unit):
    labels = [" ", *(chr(0x4E00 + index) for index in range(126))]
    tokens = CharacterTokens(labels)
    words = spelled(tokens)[1:]
    kinds = {
        None: lambda: None,
        TOKEN: lambda: TokenScorer(estimate([words[start : start + 9] for start in range(0, 120, 3)], 3), tokens),
        WORD: lambda: WordScorer(estimate([["".join(labels[1:3]), labels[4]], [labels[5]]], 3), tokens),
    }
    scorer = kinds[unit]()
    posteriors = random_posteriors(1000, 128, 0) / 1000 - math.log(128)
    search(posteriors[:5], BeamSettings(10), scorer)
    started = time.process_time()
    search(posteriors, BeamSettings(10), scorer)
    assert time.process_time() - started < 1


def test_a_model_whose_words_cannot_be_spelled_is_refused_or_warned_of(caplog):
    tokens = CharacterTokens.build(["one two"])
    with pytest.raises(DataError, match="knows none of the words that the model's characters can spell; .* case"):
        choose_unit(estimate([["ONE", "TWO"]], 2), tokens, AUTO, "lm.arpa")
    assert choose_unit(estimate([["one", "TWO", "FOUR", "SIX"]], 2), tokens, AUTO, "lm.arpa") == WORD
    assert "lm.arpa: knows only 1 words that the model's characters can spell (of 4)" in caplog.text

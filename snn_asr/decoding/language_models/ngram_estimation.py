r"""N-gram models from sentences: interpolated modified Kneser-Ney, as KenLM's lmplz estimates it.

Chen & Goodman, "An empirical study of smoothing techniques for language modeling", 1998; Heafield et al., "Scalable
modified Kneser-Ney language model estimation", 2013. With a(g) the count of an n-gram of the highest order or of one
that begins with <s>, and for every other the number of different words that were seen before it:

    p(w | c) = (a(cw) - D(a(cw))) / a(c·) + b(c) p(w | c'),   b(c) = sum over w of D(a(cw)) / a(c·)

where c' is c without its first word, a(c·) the sum of a(cw), and below the unigrams stands the uniform distribution
over all words, </s> and <unk>. D(1), D(2), D(3 and more) of each order come from the numbers t_k of its n-grams with
a = k: D(k) = k - (k + 1) Y t_(k+1) / t_k, Y = t_1 / (t_1 + 2 t_2).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from snn_asr.decoding.language_models.ngram_model import END, START, UNKNOWN, Ngram, NgramModel
from snn_asr.errors import DataError, UsageError

log = logging.getLogger(__name__)

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz's, for an order with too few n-grams to estimate them
IMPOSSIBLE_LOG10 = -99.0
MAXIMUM_ORDER = 6  # what KenLM reads as it is usually built
LONGEST_WORD = 10000  # characters: lines of an ARPA file with so many of the longest order's words can still be read


def estimate(sentences: Iterable[Sequence[str]], order: int) -> NgramModel:
    """The model of sentences (lists of words). An order with too little text gets lmplz's fallback discounts, logged.

    Raises UsageError for an impossible order, DataError for no words at all or a word that marks a sentence's bounds or
    is too long for ARPA files.
    """
    if not 1 <= order <= MAXIMUM_ORDER:
        raise UsageError(f"order {order}", "--order", f"must be a whole number from 1 to {MAXIMUM_ORDER}")
    counts = adjusted_counts(sentences, order)
    vocabulary = counts[0].keys() | {(UNKNOWN,)}
    probabilities: dict[Ngram, float] = {}
    backoffs: dict[Ngram, float] = {}
    for length, adjusted in enumerate(counts, start=1):
        discounts = _discounts(adjusted, length)
        totals, backed_off = _contexts(adjusted, discounts)
        for ngram, count in adjusted.items():
            context = ngram[:-1]
            lower = probabilities[ngram[1:]] if length > 1 else 1 / len(vocabulary)
            own = (count - _discount(discounts, count)) / totals[context]
            probabilities[ngram] = own + backed_off[context] * lower
        if length == 1:
            probabilities[UNKNOWN,] = backed_off[()] / len(vocabulary)
            probabilities[START,] = 1.0  # never asked for: written as lmplz does
        else:
            backoffs |= backed_off
    lower_order = (ngram for ngram in probabilities if len(ngram) < order)
    logarithms = {ngram: _log10(backoffs.get(ngram, 1.0)) for ngram in lower_order}
    return NgramModel(order, {ngram: _log10(each) for ngram, each in probabilities.items()}, logarithms)


def adjusted_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Ngram]]:
    """The counts a(g) of the n-grams of every order up to ``order``; <s> alone is not among them."""
    counts: list[Counter[Ngram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        marked = [word for word in sentence if word in (START, END, UNKNOWN)]
        if marked:
            raise DataError(f"'{marked[0]}' is not a word", f"sentence '{' '.join(sentence)[:60]}'", "take it out")
        if any(len(word) > LONGEST_WORD for word in sentence):
            what = f"has a word of more than {LONGEST_WORD} characters"
            raise DataError(what, f"sentence '{' '.join(sentence)[:60]}'", "put spaces between the words")
        words = (START, *sentence, END) if order > 1 else (*sentence, END)
        counts[-1].update(zip(*(words[start:] for start in range(order)), strict=False))
        for length in range(2, min(order, len(words) + 1)):
            counts[length - 1][words[:length]] += 1
    for longer, shorter in zip(counts[:0:-1], counts[-2::-1], strict=True):
        shorter.update(ngram[1:] for ngram in longer)
    if counts[0].keys() <= {(END,)}:
        raise DataError("no words to estimate a language model from", todo="check the sentences")
    return counts


def _contexts(
    adjusted: Mapping[Ngram, int], discounts: Sequence[float]
) -> tuple[Counter[Ngram], dict[Ngram, float]]:
    """For every context c of an order's n-grams: the total a(c·), and the mass b(c) that is left to shorter ones."""
    totals: Counter[Ngram] = Counter()
    discounted: dict[Ngram, float] = {}
    for ngram, count in adjusted.items():
        context = ngram[:-1]
        totals[context] += count
        discounted[context] = discounted.get(context, 0.0) + _discount(discounts, count)
    return totals, {context: mass / totals[context] for context, mass in discounted.items()}


def _discount(discounts: Sequence[float], count: int) -> float:
    return discounts[min(count, 3) - 1]


def _discounts(adjusted: Mapping[Ngram, int], length: int) -> tuple[float, ...]:
    """D(1), D(2), D(3 and more) of one order."""
    numbers = Counter(adjusted.values())
    found: tuple[float, ...] = ()
    if all(numbers[count] for count in (1, 2, 3)):
        share = numbers[1] / (numbers[1] + 2 * numbers[2])
        found = tuple(k - (k + 1) * share * numbers[k + 1] / numbers[k] for k in (1, 2, 3))
    if found and all(0 <= each <= k for k, each in enumerate(found, start=1)):
        return found
    log.warning("too little text to estimate the discounts of order %d: %s are taken", length, FALLBACK_DISCOUNTS)
    return FALLBACK_DISCOUNTS


def _log10(probability: float) -> float:
    return math.log10(probability) if probability > 0 else IMPOSSIBLE_LOG10

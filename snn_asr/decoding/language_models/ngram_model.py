"""Back-off n-gram models in plain Python, as ARPA files hold them.

The probability of a word after a context is that of the longest n-gram there is, times the back-off weights of the
contexts that had to be shortened on the way:

    log10 p(w | c1 .. ck) = p[c1 .. ck w]   or, where there is none,   b[c1 .. ck] + log10 p(w | c2 .. ck)
"""

from __future__ import annotations

from collections.abc import Mapping

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
UNKNOWN_LOG10 = -100.0  # of a word that is not in a model without <unk>, as KenLM has it
Ngram = tuple[str, ...]


class NgramModel:
    """An n-gram model as tables: log10 probabilities of all n-grams, and log10 back-offs of those below ``order``."""

    def __init__(self, order: int, probabilities: Mapping[Ngram, float], backoffs: Mapping[Ngram, float]) -> None:
        self.order, self.probabilities, self.backoffs = order, dict(probabilities), dict(backoffs)
        self._unknown = next((each for each in (UNKNOWN, UNKNOWN.upper()) if (each,) in self.probabilities), UNKNOWN)
        self._unknown_log10 = self.probabilities.get((self._unknown,), UNKNOWN_LOG10)
        self.start: Ngram = self._state((START,))
        self.contextless: Ngram = ()

    @property
    def vocabulary(self) -> frozenset[str]:
        """All words that have a probability, the marks of sentences and of the unknown word among them."""
        return frozenset(ngram[0] for ngram in self.probabilities if len(ngram) == 1)

    def __contains__(self, word: str) -> bool:
        return (word,) in self.probabilities

    def score(self, word: str, state: Ngram) -> tuple[float, Ngram]:
        """States are contexts: no longer than any n-gram can use."""
        word = word if word in self else self._unknown
        total, context = 0.0, state
        while (*context, word) not in self.probabilities:
            if not context:
                return total + self._unknown_log10, ()
            total += self.backoffs.get(context, 0.0)
            context = context[1:]
        return total + self.probabilities[context + (word,)], self._state((*context, word))

    def _state(self, ngram: Ngram) -> Ngram:
        """The longest end of the n-gram that may be the context of another."""
        ngram = ngram[-(self.order - 1) :] if self.order > 1 else ()
        while ngram and ngram not in self.backoffs:
            ngram = ngram[1:]
        return ngram

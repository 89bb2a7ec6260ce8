"""N-gram language models: ARPA files, read in plain Python or, where it is installed, by KenLM.

The probability of a word after a context is that of the longest n-gram there is, times the back-off weights of the
contexts that had to be shortened on the way:

    log10 p(w | c1 .. ck) = p[c1 .. ck w]   or, where there is none,   b[c1 .. ck] + log10 p(w | c2 .. ck)

A model is walked through states (hashable, comparable): ``score(word, state)`` gives log10 p and the next state.
"""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, Protocol

from snn_asr.errors import DataError

log = logging.getLogger(__name__)

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
SPACE = "<space>"  # how a token that is white space is written in a model of tokens: words hold none
UNKNOWN_LOG10 = -100.0  # of a word that is not in a model without <unk>, as KenLM has it
KENLM_MAGIC = b"mmap lm"
Ngram = tuple[str, ...]


class LanguageModel(Protocol):
    """``start`` is the state at the beginning of a sentence; its end is scored as the word ``</s>``."""

    order: int
    start: Hashable

    def score(self, word: str, state: Hashable) -> tuple[float, Hashable]:
        """log10 p(word | state), and the state after the word. A word it does not know counts as ``<unk>``."""

    def __contains__(self, word: str) -> bool:
        """Whether it knows the word."""


class NgramModel:
    """The tables of an ARPA file: log10 probabilities of all n-grams, log10 back-offs of those below ``order``."""

    def __init__(self, order: int, probabilities: Mapping[Ngram, float], backoffs: Mapping[Ngram, float]) -> None:
        self.order, self.probabilities, self.backoffs = order, dict(probabilities), dict(backoffs)
        self._unknown = next((each for each in (UNKNOWN, UNKNOWN.upper()) if (each,) in self.probabilities), UNKNOWN)
        self._unknown_log10 = self.probabilities.get((self._unknown,), UNKNOWN_LOG10)
        self.start: Ngram = self._state((START,))

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
        return total + self.probabilities[(*context, word)], self._state((*context, word))

    def _state(self, ngram: Ngram) -> Ngram:
        """The longest end of the n-gram that may be the context of another."""
        ngram = ngram[-(self.order - 1) :] if self.order > 1 else ()
        while ngram and ngram not in self.backoffs:
            ngram = ngram[1:]
        return ngram


class KenlmModel:
    """A model read by KenLM: faster to load and smaller in memory, the same numbers in single precision."""

    def __init__(self, kenlm: ModuleType, path: Path) -> None:
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except (OSError, RuntimeError) as error:
            raise DataError(f"KenLM cannot read it ({' '.join(str(error).split())})", path) from error
        self._new_state = kenlm.State
        self.order = self._model.order
        self.start = kenlm.State()
        self._model.BeginSentenceWrite(self.start)

    def __contains__(self, word: str) -> bool:
        return word in self._model

    def score(self, word: str, state: Hashable) -> tuple[float, Hashable]:
        following = self._new_state()
        return self._model.BaseScore(state, word, following), following


def load_language_model(path: str | Path) -> LanguageModel:
    """An ARPA file (perhaps .gz) or, with KenLM, one of its binary files; who reads it is logged.

    Raises DataError where the file is missing or no language model.
    """
    path, kenlm = Path(path), _kenlm()
    try:
        with open(path, "rb") as file:
            binary = file.read(len(KENLM_MAGIC)) == KENLM_MAGIC
    except OSError as error:
        raise DataError(f"cannot read ({error.strerror})", path, "check the path of the language model") from error
    if binary and kenlm is None:
        raise DataError("a binary file of KenLM, which is not installed", path, "pip install kenlm, or give the ARPA")
    if kenlm is None or path.suffix == ".gz":
        log.info("language model %s: read in Python", path)
        return read_arpa(path)
    log.info("language model %s: read by KenLM", path)
    return KenlmModel(kenlm, path)


def read_arpa(path: str | Path) -> NgramModel:
    """Raises DataError, with the line, for a file that is not an ARPA model or is cut short."""
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return _Reader(path, file).read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read ({getattr(error, 'strerror', None) or error})", path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start})", path, "give an ARPA file") from error


class _Reader:
    """Goes through the lines of an ARPA file once; ``where`` names the one it is at."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.number = path, 0
        self._lines = self._numbered(file)

    def read(self) -> NgramModel:
        sizes = self._sizes()
        order = len(sizes)
        probabilities: dict[Ngram, float] = {}
        backoffs: dict[Ngram, float] = {}
        words: dict[str, str] = {}  # one object for each word, however often it occurs
        for length, size in enumerate(sizes, start=1):
            self._expect(rf"\{length}-grams:")
            for _ in range(size):
                ngram, probability, backoff = self._ngram(length, order)
                ngram = tuple(words.setdefault(word, word) for word in ngram)
                probabilities[ngram] = probability
                if length < order:
                    backoffs[ngram] = backoff
        self._expect("\\end\\")
        return NgramModel(order, probabilities, backoffs)

    def _sizes(self) -> list[int]:
        """The numbers of n-grams of every order, from the head of the file."""
        while self._next() != "\\data\\":
            continue
        sizes: list[int] = []
        while match := re.fullmatch(r"ngram\s+(\d+)\s*=\s*(\d+)", self._next()):
            sizes.append(int(match[2]))
            if int(match[1]) != len(sizes):
                raise self._fault(f"expected 'ngram {len(sizes)}=...'")
        if not sizes:
            raise self._fault("expected 'ngram 1=...'")
        self._back()
        return sizes

    def _ngram(self, length: int, order: int) -> tuple[list[str], float, float]:
        fields = self._next().split()
        if len(fields) not in ((length + 1,) if length == order else (length + 1, length + 2)):
            raise self._fault(f"expected a log10 probability, {length} word(s) and perhaps a back-off")
        try:
            probability = float(fields[0])
            backoff = float(fields[-1]) if len(fields) == length + 2 else 0.0
        except ValueError as error:
            raise self._fault(f"not a number ({error})") from error
        if not probability <= 0:
            raise self._fault(f"log10 probability {probability} is above 0")
        return fields[1 : length + 1], probability, backoff

    def _expect(self, text: str) -> None:
        if self._next() != text:
            raise self._fault(f"expected '{text}'")

    def _next(self) -> str:
        """The next line that is not blank."""
        self._current = next(self._lines, None)
        if self._current is None:
            raise DataError("not an ARPA file, or cut short", self.path, "make it anew, with 'snn-asr lm' for example")
        return self._current

    def _back(self) -> None:
        """Let ``_next`` give the current line again."""
        current, rest = self._current, self._lines

        def again() -> Iterator[str]:
            yield current
            yield from rest

        self._lines = again()

    def _numbered(self, file: IO[str]) -> Iterator[str]:
        for self.number, line in enumerate(file, start=1):
            if line := line.strip():
                yield line

    def _fault(self, what: str) -> DataError:
        return DataError(what, f"{self.path}:{self.number}", "give an ARPA file")


def _kenlm() -> ModuleType | None:
    """The only import of KenLM."""
    try:
        import kenlm
    except ImportError:
        return None
    return kenlm

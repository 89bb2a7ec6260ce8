"""N-gram language models: ARPA files, read in plain Python or, where it is installed, by KenLM.

The probability of a word after a context is that of the longest n-gram there is, times the back-off weights of the
contexts that had to be shortened on the way:

    log10 p(w | c1 .. ck) = p[c1 .. ck w]   or, where there is none,   b[c1 .. ck] + log10 p(w | c2 .. ck)

A model is walked through states (hashable, comparable): ``score(word, state)`` gives log10 p and the next state.
"""

from __future__ import annotations

import codecs
import gzip
import logging
import math
import re
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Protocol

from snn_asr.errors import DataError, describing
from snn_asr.files import require_regular

log = logging.getLogger(__name__)

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
SPACE = "<space>"  # how a token that is white space is written in a model of tokens: words hold none
UNKNOWN_LOG10 = -100.0  # of a word that is not in a model without <unk>, as KenLM has it
KENLM_MAGIC, GZIP_MAGIC = b"mmap lm", b"\x1f\x8b"
LONGEST_NGRAM = 20  # words; nobody has larger ones, and files that claim them are damaged
MOST_COMPRESSED = 1032  # times that gzip can make something smaller
_LONGEST_LINE, _SHORTEST_LINE = 1 << 16, 4  # characters
Ngram = tuple[str, ...]


class LanguageModel(Protocol):
    """``start`` is the state at the beginning of a sentence; its end is scored as the word ``</s>``.

    In the state ``contextless`` a word has the probability that it has by itself.
    """

    order: int
    start: Any
    contextless: Any

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """The words it knows, <s>, </s> and <unk> among them; None where the file does not tell."""

    def score(self, word: str, state: Any) -> tuple[float, Any]:
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


class KenlmModel:
    """A model read by KenLM: faster to load and smaller in memory, the same numbers in single precision."""

    def __init__(self, kenlm: ModuleType, path: Path, vocabulary: frozenset[str] | None) -> None:
        self.vocabulary = vocabulary
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except (OSError, RuntimeError) as error:
            raise DataError(f"KenLM cannot read it ({' '.join(str(error).split())})", path) from error
        self._new_state = kenlm.State
        self.order = self._model.order
        self.start, self.contextless = kenlm.State(), kenlm.State()
        self._model.BeginSentenceWrite(self.start)
        self._model.NullContextWrite(self.contextless)

    def __contains__(self, word: str) -> bool:
        return word in self._model

    def score(self, word: str, state: Hashable) -> tuple[float, Hashable]:
        following = self._new_state()
        return self._model.BaseScore(state, word, following), following


def load_language_model(path: str | Path) -> LanguageModel:
    """An ARPA file (perhaps in gzip) or, with KenLM, one of its binary files; who reads it is logged.

    What KenLM refuses, an ARPA file of single words for one, is read in Python.
    Raises DataError where the file is missing or no language model.
    """
    path, kenlm = Path(path), _kenlm()
    with describing(path, "check the path of the language model"):
        require_regular(path)  # it is read several times
        with open(path, "rb") as file:
            beginning = file.read(len(KENLM_MAGIC))
    if beginning == KENLM_MAGIC:
        if kenlm is None:
            what = "a binary file of KenLM, which is not installed"
            raise DataError(what, path, "pip install kenlm, or give the ARPA")
        log.info("language model %s: read by KenLM", path)
        return KenlmModel(kenlm, path, None)
    if kenlm is None or beginning.startswith((GZIP_MAGIC, codecs.BOM_UTF8)):
        log.info("language model %s: read in Python", path)
        return read_arpa(path)
    try:
        model = KenlmModel(kenlm, path, read_vocabulary(path))
    except DataError as error:  # it wants two orders at least, and tabs in their places
        log.info("language model %s: read in Python, as %s", path, error.what)
        return read_arpa(path)
    log.info("language model %s: read by KenLM", path)
    return model


def read_arpa(path: str | Path) -> NgramModel:
    """Raises DataError, with the line, for a file that is not an ARPA model or is cut short."""
    with _opened(Path(path)) as file:
        return _Reader(Path(path), file).read()


def read_vocabulary(path: str | Path) -> frozenset[str]:
    """The words of an ARPA file: its n-grams of one word."""
    with _opened(Path(path)) as file:
        return _Reader(Path(path), file).read_vocabulary()


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The text of an ARPA file, in gzip or not, whatever its name; without a mark of byte order."""
    with describing(path, "give an ARPA file"):
        with open(path, "rb") as file:
            compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        with (gzip.open if compressed else open)(path, "rt", encoding="utf-8-sig") as text:
            yield text


class _Reader:
    """Goes through the lines of an ARPA file once; ``where`` names the one it is at."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.number = path, 0
        compressed = isinstance(getattr(file, "buffer", None), gzip.GzipFile)
        self.bytes = path.stat().st_size * (MOST_COMPRESSED if compressed else 1)
        self._lines: Iterator[str] = self._numbered(file)

    def read_vocabulary(self) -> frozenset[str]:
        sizes = self._sizes()
        self._expect(r"\1-grams:")
        return frozenset(self._ngram(1, len(sizes))[0][0] for _ in range(sizes[0]))

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
                key = tuple(words.setdefault(word, word) for word in ngram)
                if key in probabilities:
                    raise self._fault(f"'{' '.join(key)}' is there twice")
                probabilities[key] = probability
                if length < order:
                    backoffs[key] = backoff
        self._expect("\\end\\")
        return NgramModel(order, probabilities, backoffs)

    def _sizes(self) -> list[int]:
        """The numbers of n-grams of every order, from the head of the file."""
        while self._next() != "\\data\\":
            continue
        sizes: list[int] = []
        while match := re.fullmatch(r"ngram\s+(\d{1,18})\s*=\s*(\d{1,18})", self._next()):
            sizes.append(int(match[2]))
            if int(match[1]) != len(sizes):
                raise self._fault(f"expected 'ngram {len(sizes)}=...'")
            if len(sizes) > LONGEST_NGRAM:
                raise self._fault(f"n-grams of more than {LONGEST_NGRAM} words")
        if not sizes:
            raise self._fault("expected 'ngram 1=...'")
        if sum(sizes) * _SHORTEST_LINE > self.bytes:  # KenLM would take memory for them all
            raise self._fault(f"{sum(sizes)} n-grams do not fit into {self.bytes} bytes")
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
        if math.isnan(probability) or probability > 0:
            raise self._fault(f"a log10 probability cannot be {probability}")
        if not math.isfinite(backoff):
            raise self._fault(f"a back-off cannot be {backoff}")
        return fields[1 : length + 1], max(probability, UNKNOWN_LOG10), backoff

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
        assert self._current is not None
        self._lines = chain([self._current], self._lines)

    def _numbered(self, file: IO[str]) -> Iterator[str]:
        while line := file.readline(_LONGEST_LINE):
            self.number += 1
            if len(line) == _LONGEST_LINE:
                raise self._fault(f"a line of {_LONGEST_LINE} characters or more")
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

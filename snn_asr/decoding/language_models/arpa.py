"""ARPA files of n-gram models: read, compressed or not, with the line of whatever is wrong, and written."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

from snn_asr.decoding.language_models.ngram_model import UNKNOWN_LOG10, Ngram, NgramModel
from snn_asr.errors import DataError, UsageError, describing
from snn_asr.files import write_bytes

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_NGRAM = 20  # words; nobody has larger ones, and files that claim them are damaged
MOST_COMPRESSED = 1032  # times that gzip can make something smaller
_LONGEST_LINE, _SHORTEST_LINE = 1 << 16, 4  # characters


def read_arpa(path: str | Path) -> NgramModel:
    """The model in an ARPA file. Raises DataError, with the line, for a file that is none or is cut short."""
    with _opened(Path(path)) as file:
        return _Reader(Path(path), file).read()


def read_vocabulary(path: str | Path) -> frozenset[str]:
    """The words of an ARPA file: its n-grams of one word."""
    with _opened(Path(path)) as file:
        return _Reader(Path(path), file).read_vocabulary()


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The text of an ARPA file without a byte order mark. Its content, not its name, tells whether it is in gzip."""
    with describing(path, "give an ARPA file"):
        with open(path, "rb") as file:
            compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        with (gzip.open if compressed else open)(path, "rt", encoding="utf-8-sig") as text:
            yield text


def write_arpa(path: str | Path, model: NgramModel) -> None:
    """Write the model as an ARPA file, n-grams in the order of their words; in gzip if the name ends in .gz.

    Raises UsageError for the suffix of another compression, because the file would not be what its name says.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".bz2", ".xz", ".zst", ".zip"):
        raise UsageError(f"language models are not written as {suffix}", path, "end the name in .arpa or .arpa.gz")
    by_length: list[list[Ngram]] = [[] for _ in range(model.order)]
    for ngram in sorted(model.probabilities):
        by_length[len(ngram) - 1].append(ngram)
    lines = ["\\data\\", *(f"ngram {length}={len(each)}" for length, each in enumerate(by_length, start=1))]
    for length, ngrams in enumerate(by_length, start=1):
        lines += ["", f"\\{length}-grams:"]
        for ngram in ngrams:
            backoff = f"\t{model.backoffs.get(ngram, 0.0):.7g}" if length < model.order else ""
            lines.append(f"{model.probabilities[ngram]:.7g}\t{' '.join(ngram)}{backoff}")
    content = "\n".join([*lines, "", "\\end\\", ""]).encode("utf-8")
    write_bytes(path, gzip.compress(content, mtime=0) if suffix == ".gz" else content)


class _Reader:
    """Goes through the lines of an ARPA file once, and counts them for its errors."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path, self.number = path, 0
        compressed = isinstance(getattr(file, "buffer", None), gzip.GzipFile)
        self.bytes = path.stat().st_size * (MOST_COMPRESSED if compressed else 1)
        self._lines: Iterator[str] = self._numbered(file)

    def read_vocabulary(self) -> frozenset[str]:
        sizes = self._sizes()
        self._expect(r"\1-grams:")
        words: set[str] = set()
        for _ in range(sizes[0]):
            word = self._ngram(1, len(sizes))[0][0]
            if word in words:
                raise self._fault(f"'{word}' is there twice")
            words.add(word)
        return frozenset(words)

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

"""N-gram language models for the beam search, read in plain Python or, where it is installed, by KenLM.

A model is walked through states (hashable, comparable): ``score(word, state)`` gives log10 p and the next state.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import Hashable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from snn_asr.data.tokens import Tokens
from snn_asr.decoding.language_models.arpa import GZIP_MAGIC, read_arpa, read_vocabulary
from snn_asr.errors import DataError, describing
from snn_asr.files import require_regular

log = logging.getLogger(__name__)

KENLM_MAGIC = b"mmap lm"
UNITS = AUTO, WORD, TOKEN = "auto", "word", "token"  # what a model predicts; auto: found from its words
SPACE = "<space>"  # how a token that is white space is written in a model of tokens: words hold none


def spelled(tokens: Tokens) -> list[str]:
    """Every label, the blank first, as a language model of tokens writes it."""
    return [SPACE if label.isspace() else label for label in tokens.labels]


class LanguageModel(Protocol):
    """What the beam search asks of a model.

    ``start`` is the state at the beginning of a sentence, whose end is scored as the word ``</s>``. In the state
    ``contextless`` a word has the probability that it has by itself. ``order`` is the length of the longest n-grams.
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
    """The model in an ARPA file (perhaps in gzip) or, with KenLM, in one of its binary files.

    The log says who reads it: an ARPA file that KenLM refuses, such as one of single words, is read in Python.
    Raises DataError if the file is missing or is no language model.
    """
    path, kenlm = Path(path), installed_kenlm()
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


def installed_kenlm() -> ModuleType | None:
    """The module KenLM, or None where it is not installed. Nothing else imports it."""
    try:
        import kenlm
    except ImportError:
        return None
    return kenlm

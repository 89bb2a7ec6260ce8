"""Tokens, which the network spells: characters, words, phones or SentencePiece pieces, with one interface.

Index 0 is always the CTC blank. Everything needed to decode is plain JSON (``to_dict``, ``Tokens.from_dict``).
"""

from __future__ import annotations

import base64
import inspect
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sentencepiece

from snn_asr.data.manifest import Utterance
from snn_asr.data.phone_sets import PHONE_SETS, phone_folding
from snn_asr.errors import DataError, UsageError, shortened, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

BLANK = "<blank>"
_SPACE_MARK = "\u2581"  # SentencePiece writes it for a space


class Tokens(ABC):
    """From texts to token indices and back: ``decode(encode(text)) == normalize(text)``.

    ``labels`` names every token, the blank first. ``unit`` ("word" or "phone") is what the error rate counts.
    ``scored_phones`` is the set of TIMIT's phones that both sides are folded into before scoring, or None.
    """

    kind: str
    unit = "word"
    scored_phones: str | None = None
    labels: list[str]

    @property
    def size(self) -> int:
        """The number of tokens with the blank, which is the number of the network's outputs."""
        return len(self.labels)

    def normalize(self, text: str) -> str:
        """The text as ``decode`` would give it, with single spaces between units."""
        return " ".join(text.split())

    def transcript(self, utterance: Utterance) -> str:
        """The normalised text that the utterance should be recognised as, for ``encode`` and for scoring."""
        return self.normalize(utterance.text)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The token indices of a text, never the blank. Raises DataError that names what no token can spell."""

    @abstractmethod
    def decode(self, indices: Iterable[int]) -> str:
        """The text of any sequence of indices, without blanks."""

    @abstractmethod
    def to_dict(self) -> dict:
        """JSON values from which ``Tokens.from_dict`` makes the same tokens."""

    @staticmethod
    def from_dict(values: dict) -> Tokens:
        """The tokens that ``to_dict`` describes. Raises DataError for other values."""
        kind = values.get("kind") if isinstance(values, dict) else None
        if not isinstance(kind, str) or kind not in _KINDS:
            raise DataError(f"tokens of unknown kind {kind!r}", todo=f"expected one of {', '.join(_KINDS)}")
        try:
            return _KINDS[kind](**{name: value for name, value in values.items() if name != "kind"})
        except (TypeError, ValueError) as error:
            raise DataError(f"damaged tokens of kind {kind} ({error})", todo="restore the model folder") from error


class LabelTokens(Tokens):
    """The base of tokens that are a list of labels. ``split`` and ``separator`` say how texts are made of them."""

    separator = " "

    def __init__(self, labels: Sequence[str]) -> None:
        if not all(isinstance(label, str) for label in labels) or len({*labels, BLANK}) != len(labels) + 1:
            raise DataError("token labels must be different texts")
        self.labels = [BLANK, *labels]
        self._index = {label: index for index, label in enumerate(self.labels)}

    def split(self, text: str) -> list[str]:
        return self.normalize(text).split()

    def encode(self, text: str) -> list[int]:
        pieces = self.split(text)
        unknown = sorted({piece for piece in pieces if self._index.get(piece, 0) == 0})
        if unknown:
            raise _unknown(self.kind, unknown, text)
        return [self._index[piece] for piece in pieces]

    def decode(self, indices: Iterable[int]) -> str:
        return " ".join(self.separator.join(self.labels[index] for index in indices if index != 0).split())

    def to_dict(self) -> dict:
        return {"kind": self.kind, "labels": self.labels[1:]}


class CharacterTokens(LabelTokens):
    """A token for each character, including the space between words."""

    kind = "characters"
    separator = ""

    def split(self, text: str) -> list[str]:
        return list(self.normalize(text))

    @classmethod
    def build(cls, texts: Iterable[str]) -> CharacterTokens:
        return cls(_collect(list, texts))


class WordTokens(LabelTokens):
    """A token for each word, for small vocabularies."""

    kind = "words"

    @classmethod
    def build(cls, texts: Iterable[str]) -> WordTokens:
        return cls(_collect(str.split, texts))


class PhoneTokens(LabelTokens):
    """A token for each phone; texts are phones with spaces between them.

    The ``phone_set`` "61", "48" or "39" is TIMIT's: labels of finer sets are folded into it, and ``q`` is left out.
    "corpus" takes the labels of the training texts.
    """

    kind = "phones"
    unit = "phone"

    def __init__(self, phone_set: str, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.phone_set = phone_set
        self._folding = phone_folding(phone_set) if phone_set in PHONE_SETS else {}
        self.scored_phones = "39" if phone_set in PHONE_SETS else None

    def normalize(self, text: str) -> str:
        """The labels folded into the phone set. Unknown labels stay, so that ``encode`` can name them."""
        folded = (self._folding.get(label, label) for label in text.split())
        return " ".join(label for label in folded if label is not None)

    def transcript(self, utterance: Utterance) -> str:
        """The phones of an utterance, or its text if it has no phones."""
        if utterance.phones is None:
            return self.normalize(utterance.text)
        return self.normalize(" ".join(label for label, _ in utterance.phones))

    def to_dict(self) -> dict:
        return super().to_dict() | {"phone_set": self.phone_set}

    @classmethod
    def build(cls, texts: Iterable[str], phone_set: str | int = "39") -> PhoneTokens:
        """Raises UsageError for an unknown set."""
        if phone_set == "corpus":
            return cls("corpus", _collect(str.split, texts))
        return cls(str(phone_set), sorted({label for label in phone_folding(phone_set).values() if label is not None}))


class SentencePieceTokens(Tokens):
    """Pieces of words learnt from the training texts (SentencePiece, unigram or BPE).

    SentencePiece's own index 0, the unknown piece, is never encoded and serves as the blank.
    """

    kind = "sentencepiece"

    def __init__(self, model: str) -> None:
        """``model``: the serialised SentencePiece model in base 64."""
        self._model = model
        try:
            content = base64.b64decode(model, validate=True)
            if not content:
                raise ValueError("empty")
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except (ValueError, RuntimeError) as error:  # not base 64; not a model
            raise DataError("damaged SentencePiece model", todo="restore the model folder") from error
        pieces = range(1, self._processor.get_piece_size())
        self.labels = [BLANK, *(self._processor.id_to_piece(index) for index in pieces)]

    def normalize(self, text: str) -> str:
        """The text with single spaces, also in the place of SentencePiece's mark for a space."""
        return _plain(text)

    def encode(self, text: str) -> list[int]:
        text = self.normalize(text)
        indices = self._processor.encode(text)
        if 0 in indices:
            raise _unknown(self.kind, sorted(set("".join(text.split())) - set("".join(self.labels[1:]))), text)
        return indices

    def decode(self, indices: Iterable[int]) -> str:
        return self.normalize(self._processor.decode([int(index) for index in indices if index != 0]))

    def to_dict(self) -> dict:
        return {"kind": self.kind, "model": self._model}

    @classmethod
    def build(cls, texts: Iterable[str], vocabulary_size: int = 500, algorithm: str = "unigram") -> SentencePieceTokens:
        """Train ``vocabulary_size`` tokens (with the blank) by ``algorithm`` "unigram" or "bpe"; repeatable.

        Raises UsageError for an unknown algorithm, DataError where the texts cannot give so many pieces.
        """
        if algorithm not in ("unigram", "bpe"):
            raise unknown_name("SentencePiece algorithm", algorithm, ("unigram", "bpe"))
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter([_plain(text) for text in texts]),
                model_writer=model,
                model_type=algorithm,
                vocab_size=vocabulary_size,
                character_coverage=1.0,
                normalization_rule_name="identity",
                max_sentence_length=1 << 20,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise _training_error(str(error), vocabulary_size) from error
        return cls(base64.b64encode(model.getvalue()).decode("ascii"))


_KINDS: dict[str, type[Tokens]] = {
    kind.kind: kind for kind in (CharacterTokens, WordTokens, PhoneTokens, SentencePieceTokens)
}
KINDS = tuple(_KINDS)


def build_tokens(kind: str, texts: Iterable[str], **options: object) -> Tokens:
    """Tokens of a kind (characters, words, phones, sentencepiece) for training texts.

    Options: ``phone_set`` for phones; ``vocabulary_size`` and ``algorithm`` for sentencepiece. Raises UsageError for an
    unknown kind or option, DataError where the texts are empty.
    """
    if kind not in _KINDS:
        raise unknown_name("kind of tokens", kind, _KINDS)
    kind_of_tokens: Any = _KINDS[kind]
    build = kind_of_tokens.build
    valid = [name for name in inspect.signature(build).parameters if name != "texts"]
    for name in options:
        if not valid:
            raise UsageError(f"unknown option '{name}'", f"tokens {kind}", "this kind has none")
        if name not in valid:
            raise unknown_name("option", name, valid, f"tokens {kind}")
    return build(texts, **options)


def ctc_frames(target: Tensor) -> int:
    """The fewest frames in which CTC can spell a target (L,): one for each token and each blank between equal ones."""
    return len(target) + int((target[1:] == target[:-1]).sum())


def _collect(split: Callable[[str], list[str]], texts: Iterable[str]) -> list[str]:
    """The different pieces of the normalised texts, sorted."""
    labels = sorted({piece for text in texts for piece in split(" ".join(text.split()))})
    if not labels:
        raise DataError("no text to make tokens from", todo="check the texts of the training manifest")
    if BLANK in labels:
        what = f"'{BLANK}' is in a text, and is what the network says where it says nothing"
        raise DataError(what, todo="take it out of the texts of the training manifest")
    return labels


def _plain(text: str) -> str:
    return " ".join(text.replace(_SPACE_MARK, " ").split())


def _unknown(kind: str, unknown: list[str], text: str) -> DataError:
    shown = ", ".join(f"'{shortened(piece)}'" for piece in unknown[:10]) + (" ..." if len(unknown) > 10 else "")
    todo = "clean the text, or make the tokens from texts that hold them"
    return DataError(f"no {kind} token for {shown}", f"text '{text[:60]}'", todo)


def _give(vocabulary_size: str) -> str:
    """The word of a command line that sets the number of pieces, quoted for the shell."""
    return f"give 'token_options={{vocabulary_size: {vocabulary_size}}}'"


def _training_error(message: str, vocabulary_size: int) -> DataError:
    """SentencePiece's reasons in the user's terms."""
    if largest := re.search(r"set it to a value <= (\d+)", message):
        return DataError(f"too little text for {vocabulary_size} pieces", todo=_give(largest[1]))
    if smallest := re.search(r"required_chars\. \d+ vs (\d+)", message):
        what = f"{vocabulary_size} pieces are fewer than the characters of the texts"
        return DataError(what, todo=f"{_give(smallest[1])} or more")
    if "sentences_.empty()" in message:
        return DataError("no text to make tokens from", todo="check the texts of the training manifest")
    return DataError(f"SentencePiece cannot be trained ({message})", todo="check vocabulary_size and the texts")

"""The texts that a language model is estimated from: training transcripts, or any others, as words or as tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from snn_asr.data.manifest import find_manifest, read_manifest
from snn_asr.data.tokens import Tokens
from snn_asr.data.transcripts import read_transcripts
from snn_asr.decoding.language_models.language_model import TOKEN, spelled
from snn_asr.errors import DataError
from snn_asr.files import read_text
from snn_asr.scoring.alternatives import choose_readings

TRANSCRIPTS = (".jsonl", ".trn", ".stm", ".ctm", ".csv", ".tsv", ".srt", ".vtt")  # read as score reads them


def read_texts(path: Path, tokens: Tokens | None = None, manifests: str = "") -> list[str]:
    """The texts of a manifest, or of the training manifest in a folder; of a file of transcripts, by its suffix; or the
    lines of any other text, a sentence each.

    Words have single spaces between them. With ``tokens`` the texts are normalised as these spell them. ``manifests``
    is how the names of a folder's manifests begin. Raises DataError for a file that cannot be read or holds no words.
    """
    texts = list(_texts(find_manifest(path, "train", manifests) if path.is_dir() else path, tokens))
    if not any(texts):
        raise DataError("no words to estimate a language model from", path, "check that this is the text you mean")
    return texts


def in_units(texts: Sequence[str], unit: str, tokens: Tokens | None) -> list[list[str]]:
    """The words of each text, or with the unit "token" the ``tokens`` that spell it, as a language model writes them.

    Raises DataError for a text that the tokens cannot spell.
    """
    if unit != TOKEN or tokens is None:
        return [text.split() for text in texts]
    labels = spelled(tokens)
    return [[labels[index] for index in tokens.encode(text)] for text in texts]


def _texts(path: Path, tokens: Tokens | None) -> Iterator[str]:
    if path.suffix == ".json":
        for each in read_manifest(path, audio_needed=False).values():
            yield " ".join(each.text.split()) if tokens is None else tokens.transcript(each)
        return
    if path.suffix.lower() in TRANSCRIPTS:
        lines = list(choose_readings({}, read_transcripts(path))[1].values())
    else:
        lines = read_text(path).split("\n")
    yield from (" ".join(line.split()) if tokens is None else tokens.normalize(line) for line in lines if line.strip())

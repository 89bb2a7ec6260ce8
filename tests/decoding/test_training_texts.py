"""The texts of a language model from Python: the same ones from a manifest, from transcripts and from plain text."""

from __future__ import annotations

import json

import pytest

from snn_asr.data.tokens import CharacterTokens
from snn_asr.decoding.language_models.training_texts import in_units, read_texts
from snn_asr.errors import DataError

SENTENCES = ["one two", "two"]


@pytest.fixture
def folder(tmp_path):
    entries = {
        f"u{index}": {"wav": "a.wav", "duration": 1.0, "speaker": "s", "text": text}
        for index, text in enumerate(["one  two", "two"])
    }
    (tmp_path / "own_train.json").write_text(json.dumps(entries))
    (tmp_path / "text.trn").write_text("one two (u0)\ntwo (u1)\n")
    (tmp_path / "text.txt").write_text("one  two\n\n two\n")
    return tmp_path


def test_every_kind_of_file_gives_the_same_texts(folder):
    assert read_texts(folder, manifests="own_") == read_texts(folder / "own_train.json") == SENTENCES
    assert read_texts(folder / "text.trn") == read_texts(folder / "text.txt") == SENTENCES


def test_a_file_without_words_is_named(folder):
    (folder / "text.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"text\.txt: no words to estimate a language model from"):
        read_texts(folder / "text.txt")


def test_units_are_words_or_the_tokens_that_spell_them():
    tokens = CharacterTokens.build(SENTENCES)
    assert in_units(SENTENCES, "word", None) == in_units(SENTENCES, "word", tokens) == [["one", "two"], ["two"]]
    assert in_units(["one two"], "token", tokens) == [["o", "n", "e", "<space>", "t", "w", "o"]]

"""Texts to tokens and back, phone folding, storage as JSON."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.data.manifest import Utterance
from snn_asr.data.phone_sets import phone_folding
from snn_asr.data.tokens import Tokens, build_tokens
from snn_asr.errors import DataError, UsageError

TEXTS = ["one two three four", "five  six\tseven", "eight nine zero", "größe élan", "one nine"] * 3
WORDS = sorted({word for text in TEXTS for word in text.split()})
ALL_KINDS = [
    ("characters", {}),
    ("words", {}),
    ("phones", {"phone_set": "corpus"}),
    ("sentencepiece", {"vocabulary_size": 26}),
    ("sentencepiece", {"vocabulary_size": 40, "algorithm": "bpe"}),
]


@pytest.fixture(scope="module", params=ALL_KINDS, ids=["characters", "words", "phones", "unigram", "bpe"])
def tokens(request) -> Tokens:
    kind, options = request.param
    return build_tokens(kind, TEXTS, **options)


@settings(max_examples=50)
@given(words=st.lists(st.sampled_from(WORDS)), gaps=st.lists(st.sampled_from([" ", "  ", "\n", "\t"]), min_size=1))
def test_decoding_undoes_encoding_and_json_changes_nothing(tokens, words, gaps):
    text = "".join(word + gaps[index % len(gaps)] for index, word in enumerate(words))
    indices = tokens.encode(text)
    assert tokens.decode(indices) == tokens.normalize(text) == " ".join(words)
    assert all(0 < index < tokens.size for index in indices)
    again = Tokens.from_dict(json.loads(json.dumps(tokens.to_dict())))
    assert (again.kind, again.unit, again.labels) == (tokens.kind, tokens.unit, tokens.labels)
    assert again.encode(text) == indices


@settings(max_examples=50)
@given(data=st.data())
def test_any_indices_decode_to_a_normalised_text_and_blanks_are_skipped(tokens, data):
    indices = data.draw(st.lists(st.integers(0, tokens.size - 1)))
    text = tokens.decode(indices)
    assert text == " ".join(text.split())
    assert text == tokens.decode([index for index in indices if index])
    assert "<blank>" not in text and "<unk>" not in text and "⁇" not in text


def test_building_twice_gives_the_same(tokens):
    options = {"phones": {"phone_set": "corpus"}}.get(tokens.kind, {})
    if tokens.kind == "sentencepiece":
        options = {"vocabulary_size": tokens.size, "algorithm": "unigram" if tokens.size == 26 else "bpe"}
    assert build_tokens(tokens.kind, iter(TEXTS), **options).to_dict() == tokens.to_dict()


def test_what_no_token_spells_is_named(tokens):
    with pytest.raises(DataError, match="'Q") as caught:
        tokens.encode("one Q nine")
    assert "one Q nine" in str(caught.value) and tokens.kind in str(caught.value)


def test_characters_words_and_units():
    characters = build_tokens("characters", ["ba ab"])
    assert characters.labels == ["<blank>", " ", "a", "b"]
    assert characters.encode(" ab  b ") == [2, 3, 1, 3]
    words = build_tokens("words", ["two one", "one"])
    assert words.labels == ["<blank>", "one", "two"]
    assert words.encode("two one two") == [2, 1, 2]
    with pytest.raises(DataError, match="<blank>"):
        words.encode("<blank>")
    assert (characters.unit, words.unit, build_tokens("phones", []).unit) == ("word", "word", "phone")


def test_sentencepiece_sizes_and_quiet(capfd):
    built = build_tokens("sentencepiece", TEXTS, vocabulary_size=26)
    assert built.size == 26 and built.labels[0] == "<blank>" and len(set(built.labels)) == 26
    assert len(built.encode("one")) <= 4
    # Its own mark of a space is read as one, compatibility characters stay as they are.
    assert built.decode(built.encode("one▁nine")) == "one nine"
    ligature = build_tokens("sentencepiece", ["ﬁne one"], vocabulary_size=7)
    assert ligature.decode(ligature.encode("ﬁne")) == "ﬁne"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "texts, size, message",
    [
        (["one two"], 100, r"too little text for 100 pieces; give 'token_options=\{vocabulary_size: \d+\}'$"),
        (["one two"], 3, r"3 pieces are fewer than the characters of the texts; give '.*_size: \d+\}' or more"),
        ([], 10, "no text"),
        (["", " "], 10, "no text"),
    ],
)
def test_sentencepiece_says_which_size_fits(texts, size, message):
    with pytest.raises(DataError, match=message):
        build_tokens("sentencepiece", texts, vocabulary_size=size)


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_no_texts_give_no_tokens(kind):
    with pytest.raises(DataError, match="no text"):
        build_tokens(kind, ["", "  "])


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("character", {}, "did you mean 'characters'"),
        ("characters", {"size": 3}, "this kind has none"),
        ("sentencepiece", {"vocabulary": 30}, "did you mean 'vocabulary_size'"),
        ("sentencepiece", {"algorithm": "bp"}, "did you mean 'bpe'"),
        ("phones", {"phone_set": 40}, "unknown phone set '40'"),
    ],
)
def test_wrong_names_are_usage_errors(kind, options, message):
    with pytest.raises(UsageError, match=message):
        build_tokens(kind, TEXTS, **options)


@pytest.mark.parametrize(
    "values",
    [
        3,
        {},
        {"kind": "x"},
        {"kind": ["words"]},
        {"kind": "words"},
        {"kind": "words", "labels": None},
        {"kind": "words", "labels": ["a", "a"]},
        {"kind": "words", "labels": ["<blank>"]},
        {"kind": "words", "labels": ["a"], "more": 1},
        {"kind": "sentencepiece", "model": "?"},
        {"kind": "sentencepiece", "model": ""},
        {"kind": "sentencepiece", "model": base64.b64encode(b"no model").decode()},
    ],
)
def test_damaged_tokens_are_data_errors(values):
    with pytest.raises(DataError, match="token|SentencePiece"):
        Tokens.from_dict(values)


def test_phone_sets_have_the_published_sizes_and_nest():
    for size in (61, 48, 39):
        folding = phone_folding(size)
        labels = {label for label in folding.values() if label is not None}
        assert len(labels) == size
        assert all(folding[label] == label for label in labels)
        assert build_tokens("phones", [], phone_set=size).size == size + 1
    assert {label for label, target in phone_folding(39).items() if target is None} == {"q"}
    coarse, middle = phone_folding(39), phone_folding(48)
    assert all(coarse[label] == coarse.get(target) for label, target in middle.items() if target is not None)


def test_the_lee_and_hon_folding():
    groups = {
        "sil": "h# pau epi bcl dcl gcl pcl tcl kcl cl vcl sil", "er": "er axr", "ah": "ah ax ax-h", "aa": "aa ao",
        "ih": "ih ix", "uw": "uw ux", "l": "l el", "m": "m em", "n": "n en nx", "ng": "ng eng", "hh": "hh hv",
        "sh": "sh zh",
    }
    folding = phone_folding(39)
    expected = {label: target for target, labels in groups.items() for label in labels.split()}
    folded = {label: target for label, target in folding.items() if label in expected or target in groups}
    assert folded == expected
    assert all(folding[label] == label for label in folding if label not in expected and label != "q")


def test_phone_transcripts_are_folded_and_the_glottal_stop_is_left_out():
    phones = tuple((label, end + 1.0) for end, label in enumerate("h# q ax-h kcl k el zh h#".split()))
    utterance = Utterance("a", Path("a.wav"), 9.0, "s", "an unrelated text", phones)
    tokens = build_tokens("phones", [])
    assert tokens.transcript(utterance) == "sil ah sil k l sh sil"
    assert tokens.decode(tokens.encode("h# q ax-h kcl k el zh h#")) == "sil ah sil k l sh sil"
    assert build_tokens("phones", [], phone_set="48").transcript(utterance) == "sil ax cl k el zh sil"
    assert build_tokens("phones", [], phone_set="61").transcript(utterance) == "h# q ax-h kcl k el zh h#"
    assert build_tokens("characters", TEXTS).transcript(utterance) == "an unrelated text"
    without = Utterance("b", Path("b.wav"), 9.0, "s", "sil k ix", None)
    assert tokens.transcript(without) == "sil k ih"


def test_every_timit_label_in_real_transcripts_is_known(shared_data):
    files = sorted((shared_data / "timit_sample").rglob("*.PHN"))
    labels = {line.split()[2] for path in files for line in path.read_text().splitlines()}
    assert len(labels) > 55 and labels <= set(phone_folding(61))

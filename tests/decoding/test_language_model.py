"""ARPA files: scores by hand, KenLM's own numbers, and one line for what is no ARPA file."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from snn_asr.data.tokens import CharacterTokens
from snn_asr.decoding.language_models import language_model
from snn_asr.decoding.language_models.arpa import read_arpa, read_vocabulary
from snn_asr.decoding.language_models.language_model import WORD, KenlmModel, load_language_model
from snn_asr.decoding.language_models.ngram_model import UNKNOWN_LOG10, NgramModel
from snn_asr.decoding.language_models.prefix_scorers import scorer_of
from snn_asr.errors import DataError

GOLDEN = Path(__file__).parents[1] / "golden" / "lmplz.arpa"
ARPA = """\
a remark

\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.1
-1.0\t</s>
-0.5\ta\t-0.2
-0.7\tb\t-0.3
-2.0\t<unk>

\\2-grams:
-0.4\t<s> a\t-0.05
-0.25 a b -0.15
-0.6\tb </s>

\\3-grams:
-0.125\t<s> a b

\\end\\
"""


@pytest.fixture
def arpa(tmp_path) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


@pytest.fixture
def model(arpa) -> NgramModel:
    return read_arpa(arpa)


@pytest.mark.parametrize(
    ("context", "word", "expected"),
    [
        ((), "a", -0.5),
        (("<s>",), "a", -0.4),
        (("<s>", "a"), "b", -0.125),
        (("a",), "b", -0.25),
        (("b", "a"), "b", -0.25),  # no back-off for a context that is not there
        (("a", "b"), "</s>", -0.15 - 0.6),
        (("a", "b"), "a", -0.15 - 0.3 - 0.5),
        (("<s>", "a"), "a", -0.05 - 0.2 - 0.5),
        (("a", "b"), "zebra", -0.15 - 0.3 - 2.0),
    ],
)
def test_scores_by_hand(model, context, word, expected):
    assert model.score(word, context)[0] == pytest.approx(expected)

WITHOUT_UNKNOWN = ARPA.replace("1=5", "1=4").replace("-2.0\t<unk>\n", "")


def test_states_are_the_contexts_that_matter(model):
    assert model.order == 3 and model.start == ("<s>",)
    assert model.score("a", model.start)[1] == ("<s>", "a")
    assert model.score("b", ("<s>", "a"))[1] == ("a", "b")
    assert model.score("b", ("<s>",))[1] == ("b",)  # no n-gram goes on from "<s> b"
    assert model.score("zebra", ("a", "b"))[1] == ("<unk>",)
    assert "a" in model and "zebra" not in model


def test_a_model_without_unknown_words_all_but_forbids_them(arpa):
    arpa.write_text(WITHOUT_UNKNOWN, encoding="utf-8")
    model = read_arpa(arpa)
    log10, state = model.score("zebra", ("a",))
    assert log10 == pytest.approx(-0.2 + UNKNOWN_LOG10) and state == ()
    arpa.write_text(ARPA.replace("<unk>", "<UNK>"), encoding="utf-8")
    assert read_arpa(arpa).score("zebra", ())[0] == -2.0


def test_words_without_unknown_ones_are_warned_of(arpa, caplog):
    """The search would take the words that the model does not know for one, and run them together."""
    tokens = CharacterTokens(["a", "b", " "])
    for text, closed, warned in (
        (ARPA, False, False), (WITHOUT_UNKNOWN, False, True), (WITHOUT_UNKNOWN, True, False),
    ):
        caplog.clear()
        arpa.write_text(text, encoding="utf-8")
        scorer_of(read_arpa(arpa), tokens, WORD, closed, arpa)
        assert ("has no <unk>" in caplog.text) == warned


def test_a_compressed_file_is_read_in_python(arpa):
    packed = arpa.with_name("lm.arpa.gz")
    packed.write_bytes(gzip.compress(arpa.read_bytes()))
    model = load_language_model(packed)
    assert isinstance(model, NgramModel) and model.score("a", ())[0] == -0.5
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(DataError, match="damaged, or cut short"):
        load_language_model(packed)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_marks_of_byte_order_and_ends_of_lines_are_understood(arpa, encoding, newline):
    plain = read_arpa(arpa)
    arpa.write_bytes(ARPA.replace("a remark\n\n", "").replace("\n", newline).encode(encoding))
    model = load_language_model(arpa)
    assert model.score("a", ())[0] == plain.score("a", ())[0]
    assert read_vocabulary(arpa) == plain.vocabulary == {"<s>", "</s>", "a", "b", "<unk>"}


def test_a_word_that_is_there_twice_is_found_by_who_reads_only_the_words(arpa):
    """They are read before KenLM reads the rest, which takes it."""
    arpa.write_text(ARPA.replace("-0.7\tb", "-0.7\ta"), encoding="utf-8")
    with pytest.raises(DataError, match="'a' is there twice"):
        read_vocabulary(arpa)


def test_impossible_words_are_as_unlikely_as_unknown_ones(arpa):
    arpa.write_text(ARPA.replace("-0.5\ta", "-inf\ta"), encoding="utf-8")
    assert read_arpa(arpa).score("a", ())[0] == UNKNOWN_LOG10


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("\\data\\", "data", "cut short"),
        ("ngram 1=5", "ngram 1=6", r":15: expected a log10 probability, 1 word\(s\)"),
        ("ngram 1=5", "ngram 1=4", r":13: expected '\\2-grams:'"),
        ("ngram 2=3", "ngram 3=3", ":5: expected 'ngram 2=...'"),
        ("ngram 1=5\nngram 2=3\nngram 3=1", "", ":6: expected 'ngram 1=...'"),
        ("-0.5\ta", "zero\ta", ":11: not a number"),
        ("-0.5\ta", "0.5\ta", ":11: a log10 probability cannot be 0.5"),
        ("-0.5\ta", "nan\ta", ":11: a log10 probability cannot be nan"),
        ("a\t-0.2", "a\tinf", ":11: a back-off cannot be inf"),
        ("-0.7\tb", "-0.7\ta", ":12: 'a' is there twice"),
        ("ngram 3=1", "ngram 3=10000000000", ":8: 10000000008 n-grams do not fit into"),
        ("ngram 3=1", "ngram 3=" + "9" * 5000, ":6: expected"),
        ("ngram 3=1", "\n".join(f"ngram {order}=1" for order in range(3, 40)), "n-grams of more than 20 words"),
        ("a remark", "x" * 100_000, ":1: a line of 65536 characters or more"),
        ("<s> a b\n", "<s> a b -0.1\n", "3 word"),
        ("\\end\\", "", "cut short"),
    ],
)
def test_what_is_no_arpa_file_is_one_line_with_its_place(old, new, problem, arpa):
    assert old in ARPA
    arpa.write_text(ARPA.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        read_arpa(arpa)
    assert str(arpa) in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_and_absent_files_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(language_model, "installed_kenlm", lambda: None)
    (tmp_path / "lm.arpa").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        load_language_model(tmp_path / "lm.arpa")
    with pytest.raises(DataError, match="absent.arpa: no such file"):
        load_language_model(tmp_path / "absent.arpa")
    (tmp_path / "lm.bin").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0")
    with pytest.raises(DataError, match="pip install kenlm"):
        load_language_model(tmp_path / "lm.bin")


def test_kenlm_gives_the_same_scores_where_it_is_installed(monkeypatch):
    pytest.importorskip("kenlm")
    theirs = load_language_model(GOLDEN)
    monkeypatch.setattr(language_model, "installed_kenlm", lambda: None)
    ours = load_language_model(GOLDEN)
    assert isinstance(theirs, KenlmModel) and isinstance(ours, NgramModel) and theirs.order == ours.order
    words = [ngram[0] for ngram in ours.probabilities if len(ngram) == 1 and ngram[0] != "<s>"] + ["zebra"]
    draw, seen = random.Random(0), {}
    for _ in range(200):
        state, their_state = ours.start, theirs.start
        for word in draw.choices(words, k=6):
            assert (word in ours) == (word in theirs) or word == "<unk>"
            (score, state), (their_score, their_state) = ours.score(word, state), theirs.score(word, their_state)
            assert score == pytest.approx(their_score, abs=1e-5)
            same = seen.setdefault(their_state, state)  # their states are as good keys as ours
            assert [ours.score(each, same)[0] for each in words] == [ours.score(each, state)[0] for each in words]
    assert len(seen) > 20
    for word in words:  # as it is by itself
        score = ours.score(word, ours.contextless)[0]
        assert score == pytest.approx(theirs.score(word, theirs.contextless)[0], abs=1e-5)
        assert score == pytest.approx(ours.probabilities.get((word,), ours.probabilities[("<unk>",)]))


def test_kenlm_refuses_in_one_line(tmp_path):
    pytest.importorskip("kenlm")
    (tmp_path / "lm.arpa").write_text("no model\n")
    with pytest.raises(DataError, match="KenLM cannot read it|not an ARPA file") as caught:
        load_language_model(tmp_path / "lm.arpa")
    assert "\n" not in str(caught.value)


def test_what_kenlm_refuses_is_read_in_python(arpa, monkeypatch, caplog):
    """It takes no model of single words, and no back-off that is left out with the tab before it."""

    def refuse(path: str, config: object) -> None:
        raise OSError("FormatLoadException")

    complaints = SimpleNamespace(NONE=0)
    fake = SimpleNamespace(Config=SimpleNamespace, ARPALoadComplain=complaints, Model=refuse)
    monkeypatch.setattr(language_model, "installed_kenlm", lambda: fake)
    caplog.set_level("INFO", "snn_asr")
    assert isinstance(load_language_model(arpa), NgramModel)
    assert "read in Python, as KenLM cannot read it (FormatLoadException)" in caplog.text
    arpa.write_text("no model\n")
    with pytest.raises(DataError, match="not an ARPA file"):
        load_language_model(arpa)

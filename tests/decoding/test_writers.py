"""Golden files for every format (tests/golden/), and what must hold of any hypothesis.

The golden files are written by hand after the formats' definitions; there is no switch that rewrites them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_asr.decoding.files.writers import FORMATS, record, render
from snn_asr.decoding.hypothesis import KINDS, Alternative, Hypothesis, Segment, Token, words
from snn_asr.errors import UsageError

GOLDEN = Path(__file__).parents[1] / "golden"


def spell(text: str, start: float, step: float = 0.1) -> list[Token]:
    """One token a character, each ``step`` seconds long."""
    return [
        Token(label, start + index * step, start + (index + 1) * step, 0.9 - 0.01 * index)
        for index, label in enumerate(text)
    ]


def utterance() -> Hypothesis:
    """Three words, a pause of more than a second before the last; marks that WebVTT must escape."""
    tokens = (*spell("yes <b&", 0.2), Token(" ", 0.9, 1.0, 0.5), *spell("né", 3599.9996))
    return Hypothesis("spk 1/take (2)", "yes <b& né", tokens, 3600.4, kind="characters")


@pytest.mark.parametrize("format", FORMATS)
def test_golden(format):
    expected = (GOLDEN / f"utterance{FORMATS[format]}").read_text(encoding="utf-8")
    assert render(utterance(), format) == expected


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("txt", "\n"),
        ("trn", "(a)\n"),
        ("ctm", ""),
        ("srt", ""),
        ("vtt", "WEBVTT\n"),
        (
            "textgrid",
            'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2.000\ntiers? <exists>\nsize = 1\n'
            'item []:\n    item [1]:\n        class = "IntervalTier"\n        name = "words"\n        xmin = 0\n'
            "        xmax = 2.000\n        intervals: size = 1\n        intervals [1]:\n            xmin = 0.000\n"
            '            xmax = 2.000\n            text = ""\n',
        ),
        ("json", '{"id": "a", "text": "", "duration": 2.0, "tokens": [], "words": [], "segments": []}'),
    ],
)
def test_silence(format, expected):
    if format == "json":
        expected = json.dumps(json.loads(expected), indent=2) + "\n"
    assert render(Hypothesis("a", "", (), 2.0), format) == expected


def labelled(*labels: str) -> Hypothesis:
    tokens = tuple(Token(label, index, index + 1, 0.5 + index / 20) for index, label in enumerate(labels))
    return Hypothesis("a", "", tokens, len(labels))


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("characters", " hi  you ", [("hi", 1, 3, 0.55), ("you", 5, 8, 0.75)]),
        ("characters", "", []),
        ("characters", "   ", []),
        ("sentencepiece", ["▁he", "llo", "▁", "you"], [("hello", 0, 2, 0.5), ("you", 2, 4, 0.6)]),
        ("sentencepiece", ["he", "y", "▁"], [("hey", 0, 2, 0.5)]),
        ("words", ["one", "two"], [("one", 0, 1, 0.5), ("two", 1, 2, 0.55)]),
        ("phones", ["hh", "iy"], [("hh", 0, 1, 0.5), ("iy", 1, 2, 0.55)]),
    ],
)
def test_words(kind, labels, expected):
    found = words(labelled(*labels).tokens, kind)
    assert [(word.text, word.start, word.end) for word in found] == [row[:3] for row in expected]
    assert [word.confidence for word in found] == pytest.approx([row[3] for row in expected])


@given(st.text("ab c", max_size=30))
def test_words_of_characters_spell_the_text(text):
    assert [word.text for word in words(labelled(*text).tokens, "characters")] == text.split()


def sentence(count: int, length: int, seconds: float) -> Hypothesis:
    """``count`` words of ``length`` characters, one after the other without a pause."""
    tokens = tuple(Token("w" * length, index * seconds, (index + 1) * seconds, 0.5) for index in range(count))
    return Hypothesis("a", " ".join(token.label for token in tokens), tokens, count * seconds)


CUE = re.compile(r"(\d+):(\d\d):(\d\d),(\d{3}) --> (\d+):(\d\d):(\d\d),(\d{3})")


def read_srt(text: str) -> list[tuple[float, float, str]]:
    cues = []
    for number, block in enumerate(filter(None, text.split("\n\n")), start=1):
        index, times, *lines = block.strip("\n").split("\n")
        assert int(index) == number
        fields = [int(field) for field in CUE.fullmatch(times).groups()]
        start, end = (fields[i] * 3600 + fields[i + 1] * 60 + fields[i + 2] + fields[i + 3] / 1000 for i in (0, 4))
        assert 1 <= len(lines) <= 2 and all(len(line) <= 42 for line in lines)
        cues.append((start, end, " ".join(lines)))
    return cues


@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from([0.05, 0.3, 1.5]))
def test_subtitles_keep_the_limits(count, length, seconds):
    hypothesis = sentence(count, length, seconds)
    cues = read_srt(render(hypothesis, "srt"))
    assert " ".join(text for _, _, text in cues) == hypothesis.text
    for start, end, _ in cues:
        assert 0 <= start < end <= hypothesis.duration_seconds + 0.001
        assert end - start <= 7.001
    for (_, end, _), (start, _, _) in zip(cues, cues[1:], strict=False):
        assert end <= start


def test_short_cue_stays_readable_but_not_into_the_next():
    tokens = (Token("a", 0.0, 0.1, 0.5), Token("b", 1.5, 1.6, 0.5), Token("c", 2.6001, 2.7, 0.5))
    cues = read_srt(render(Hypothesis("a", "a b c", tokens, 2.9), "srt"))
    assert [(start, end) for start, end, _ in cues] == [(0.0, 1.0), (1.5, 2.5), (2.6, 2.9)]


def test_ctm_times_add_up():
    hypothesis = Hypothesis("a", "x y", (Token("x", 0.0005, 0.0015, 1.0), Token("y", 0.0015, 1 / 3, 1.0)), 1.0)
    rows = [line.split() for line in render(hypothesis, "ctm").splitlines()]
    assert [len(row) for row in rows] == [6, 6]
    assert float(rows[0][2]) + float(rows[0][3]) == pytest.approx(float(rows[1][2]))
    assert float(rows[1][2]) + float(rows[1][3]) == pytest.approx(0.333)


def test_json_reads_back():
    value = json.loads(render(utterance(), "json"))
    assert (value["id"], value["text"], value["duration"]) == ("spk 1/take (2)", "yes <b& né", 3600.4)
    assert "".join(token["label"] for token in value["tokens"]) == "yes <b& né"


def two_segments() -> Hypothesis:
    """Characters; the first segment ends within 0.1 s of where the second begins."""
    best, other = Alternative("hi you", -1.0, -2.0), Alternative("hi yu", -3.0, -4.0)
    first = Segment("hi you", tuple(spell("hi you", 0.0)), (best, other))
    second = Segment("ok", tuple(spell("ok", 0.7)), (Alternative("ok", -0.5, -0.5), Alternative("o", -1.0, -1.0)))
    return Hypothesis.joined("a", (first, second), 9.0, "characters", alternatives=3)


def test_segments_stand_apart_in_every_format_that_can_say_so():
    hypothesis = two_segments()
    assert hypothesis.text == "hi you ok"
    assert [word.text for word in hypothesis.words] == ["hi", "you", "ok"]
    assert render(hypothesis, "txt") == "hi you\nok\n"
    assert render(hypothesis, "trn") == "hi you ok (a)\n"
    assert [line.split()[4] for line in render(hypothesis, "ctm").splitlines()] == ["hi", "you", "ok"]
    assert [text for _, _, text in read_srt(render(hypothesis, "srt"))] == ["hi you", "ok"]
    assert render(hypothesis, "vtt").count("-->") == 2
    segments = record(hypothesis)["segments"]
    assert [(each["text"], each["start"], each["end"]) for each in segments] == [("hi you", 0.0, 0.6), ("ok", 0.7, 0.9)]
    assert [len(each["nbest"]) for each in segments] == [2, 2]


def test_alternatives_of_the_whole_are_the_best_choices_of_one_a_segment():
    found = [(each.text, each.score, each.acoustic_score) for each in two_segments().alternatives]
    assert found == [("hi you ok", -1.5, -2.5), ("hi you o", -2.0, -3.0), ("hi yu ok", -3.5, -4.5)]


def test_text_formats_stay_on_one_line():
    hypothesis = Hypothesis("a", " two\nlines ", (), 1.0)
    assert (render(hypothesis, "txt"), render(hypothesis, "trn")) == ("two lines\n", "two lines (a)\n")


def test_unknown_names():
    with pytest.raises(UsageError, match="unknown format 'jsn'; did you mean 'json'"):
        render(utterance(), "jsn")
    with pytest.raises(UsageError, match="unknown kind of token 'word'; did you mean 'words'"):
        words(utterance().tokens, "word")


def test_kinds_are_those_of_the_tokens():
    tokens = pytest.importorskip("snn_asr.data.tokens")
    kinds = {tokens.CharacterTokens.kind, tokens.WordTokens.kind, tokens.PhoneTokens.kind}
    assert kinds | {tokens.SentencePieceTokens.kind} == set(KINDS)

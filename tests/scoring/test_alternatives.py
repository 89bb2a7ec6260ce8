"""Of all readings of a reference the one with the fewest errors counts, as sclite's rules say."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_asr.errors import DataError
from snn_asr.scoring.alignments import align
from snn_asr.scoring.alternatives import best_reading, choose_readings, first_reading, is_marked, parse


@pytest.mark.parametrize(
    ("reference", "hypothesis", "reading"),
    [
        ("i saw { an / the } owl", "i saw the owl", "i saw the owl"),
        ("i saw {an / the} owl", "i saw an owl", "i saw an owl"),
        ("(uh) well then", "well then", "well then"),
        ("(uh) well then", "uh well then", "uh well then"),
        ("{ @ / you know } well", "well", "well"),
        ("{ @ / you know } well", "you know well", "you know well"),
        ("{ a { b / c d } / e } f", "a c d f", "a c d f"),
        ("and/or (so to say)", "and/or", "and/or (so to say)"),
        ("{ one / two } three", "four", "one three"),
        ("{one/two} three", "two three", "two three"),
        ("(uh) yes", "no yes", "uh yes"),
    ],
)
def test_readings(reference: str, hypothesis: str, reading: str) -> None:
    assert " ".join(best_reading(parse(reference, "u1"), hypothesis.split())) == reading


@pytest.mark.parametrize("text", ["{ a / b", "a } b", "{ a / { b }", "{" * 200 + "}" * 200])
def test_braces_that_do_not_match_are_named(text: str) -> None:
    with pytest.raises(DataError, match="^u1: "):
        parse(text, "u1")


def test_sides_are_read_by_their_marks() -> None:
    references, hypotheses = {"a": "(uh) well", "b": "plain (x y)"}, {"a": "well", "b": "{ no / brace"}
    assert choose_readings(references, hypotheses) == ({"a": "well", "b": "plain (x y)"}, hypotheses)
    assert choose_readings(references, hypotheses, (False, False)) == (references, hypotheses)
    marked = {"a": "(uh) { one / two }"}
    assert choose_readings(marked, marked) == ({"a": "uh one"}, {"a": "uh one"}), "a file against itself has no errors"


WORDS = st.lists(st.sampled_from("abc"), max_size=3)
OPTIONAL = st.tuples(st.just("optional"), st.sampled_from("abc"))
PARTS = st.lists(WORDS | OPTIONAL | st.lists(WORDS, min_size=1).map(tuple), max_size=4)


@settings(max_examples=60)
@given(PARTS, WORDS)
def test_no_reading_has_fewer_errors(parts, hypothesis) -> None:
    text, choices = "", []
    for part in parts:
        if isinstance(part, list):
            text += " ".join(part) + " "
            choices.append([part])
        elif part[0] == "optional":
            text += f"({part[1]}) "
            choices.append([[part[1]], []])
        else:
            text += "{ " + " / ".join(" ".join(each) or "@" for each in part) + " } "
            choices.append(list(part))
    readings = [[word for words in chosen for word in words] for chosen in product(*choices)]
    graph = parse(text, "u1")
    found = best_reading(graph, hypothesis)
    assert found in readings and first_reading(graph) == readings[0]
    assert align(found, hypothesis).counts.edits == min(align(each, hypothesis).counts.edits for each in readings)
    assert is_marked(text) == any(isinstance(part, tuple) for part in parts)

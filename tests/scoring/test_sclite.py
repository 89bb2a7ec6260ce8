"""NIST's sclite reads what the writers write, and counts what we count."""

from __future__ import annotations

import random
import re
import shutil
import subprocess

import pytest

from snn_asr.data.transcripts import read_transcripts
from snn_asr.decoding.files.writers import render
from snn_asr.decoding.hypothesis import Hypothesis, Token
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.alternatives import choose_readings
from snn_asr.scoring.error_rates import score

SCORES = re.compile(
    r"id: \((\S+)\)\n(?:File: .*\nChannel: .*\n)?Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)"
)
WORD_SECONDS = 0.25


@pytest.fixture(scope="module")
def sclite() -> list[str]:
    """The program, or Debian's wrapper around it (package sctk)."""
    for command in (["sclite"], ["sctk", "sclite"]):
        if shutil.which(command[0]):
            return command
    pytest.skip("no sclite on PATH (Debian's package sctk)")


def spoken(identifier: str, text: str) -> Hypothesis:
    words = text.split()
    tokens = tuple(
        Token(word, index * WORD_SECONDS, (index + 1) * WORD_SECONDS, 0.5) for index, word in enumerate(words)
    )
    return Hypothesis(identifier, text, tokens, max(1, len(words)) * WORD_SECONDS)


def corrupted(generator: random.Random, words: list[str], vocabulary: list[str], rate: float) -> list[str]:
    """Each word replaced, left out or followed by another, at ``rate`` in all."""
    result = []
    for word in words:
        kept = [[generator.choice(vocabulary)], [], [word, generator.choice(vocabulary)]]
        result += generator.choice(kept) if generator.random() < rate else [word]
    return result


@pytest.fixture(scope="module", params=[("few words", 12), ("many words", 500)], ids=lambda parameter: parameter[0])
def transcripts(request) -> tuple[dict[str, str], dict[str, str]]:
    """200 references with hypotheses. At 25 % errors sclite's weights (4, 3, 3) and ours give the same totals."""
    generator = random.Random(7)
    vocabulary = [f"w{index}" for index in range(request.param[1])]
    references, hypotheses = {}, {}
    for index in range(200):
        words = generator.choices(vocabulary, k=generator.randint(1, 20))
        identifier = f"s{index % 10}-{index:03}"
        references[identifier] = " ".join(words)
        hypotheses[identifier] = " ".join(corrupted(generator, words, vocabulary, 0.25))
    return references, hypotheses


def counts(command: list[str]) -> dict[str, tuple[int, ...]]:
    """Id to correct, substitutions, deletions, insertions."""
    done = subprocess.run([*command, "-s", "-o", "pralign", "stdout"], capture_output=True, text=True, check=True)
    return {match[1]: tuple(map(int, match.groups()[1:])) for match in SCORES.finditer(done.stdout)}


def check_agreement(theirs: dict[str, tuple[int, ...]], ours: dict[str, ErrorCounts]) -> None:
    """Ties may be broken differently: only the words and the errors of every utterance have to be the same."""
    assert theirs.keys() == ours.keys()
    for identifier, (correct, substitutions, deletions, insertions) in theirs.items():
        assert correct + substitutions + deletions == ours[identifier].reference_length
        assert substitutions + deletions + insertions == ours[identifier].edits


def test_trn(sclite, tmp_path, transcripts):
    names = ("reference.trn", "hypothesis.trn")
    for name, texts in zip(names, transcripts, strict=True):
        (tmp_path / name).write_text("".join(render(spoken(*each), "trn") for each in texts.items()))
    reference, hypothesis = (str(tmp_path / name) for name in names)
    theirs = counts([*sclite, "-i", "spu_id", "-r", reference, "trn", "-h", hypothesis, "trn"])
    result = score(*transcripts)
    check_agreement(theirs, result.utterances)
    assert result.total.edits > 200


def test_ctm(sclite, tmp_path, transcripts):
    """Against segment time marks, one segment an utterance; sclite wants the words in the order of ids and times."""
    references, hypotheses = ({name: each[name] for name in sorted(each)} for each in transcripts)
    stm = "".join(f"{name} 1 {name} 0.000 99.000 {text}\n" for name, text in references.items())
    (tmp_path / "reference.stm").write_text(stm)
    (tmp_path / "hypothesis.ctm").write_text("".join(render(spoken(*each), "ctm") for each in hypotheses.items()))
    reference, hypothesis = (str(tmp_path / name) for name in ("reference.stm", "hypothesis.ctm"))
    theirs = counts([*sclite, "-r", reference, "stm", "-h", hypothesis, "ctm"])
    # It names an utterance by its segment's number in the recording, which is always the first.
    theirs = {identifier.removesuffix("-000"): found for identifier, found in theirs.items()}
    check_agreement(theirs, score(references, hypotheses).utterances)


def test_alternatives_and_words_that_may_be_left_out(sclite, tmp_path):
    """The errors of every utterance are sclite's (with -D); it counts words left out among the correct ones."""
    references = {
        "s-1": "i saw { an / the } owl", "s-2": "(uh) well then", "s-3": "(uh) well then",
        "s-4": "{ @ / you know } well", "s-5": "(uh) yes",
        "s-6": "{a/b} c", "s-7": "{ a { b / c } / d } e", "s-8": "{ a / b } { c d / e } (f)",
    }
    hypotheses = {
        "s-1": "i saw the owl", "s-2": "well then", "s-3": "uh well then", "s-4": "well", "s-5": "no yes", "s-6": "b c",
        "s-7": "a c e", "s-8": "b c g h",
    }
    for name, texts in (("reference.trn", references), ("hypothesis.trn", hypotheses)):
        (tmp_path / name).write_text("".join(f"{text} ({identifier})\n" for identifier, text in texts.items()))
    reference, hypothesis = (str(tmp_path / name) for name in ("reference.trn", "hypothesis.trn"))
    theirs = counts([*sclite, "-D", "-i", "spu_id", "-r", reference, "trn", "-h", hypothesis, "trn"])
    ours = score(*choose_readings(read_transcripts(reference), read_transcripts(hypothesis))).utterances
    assert {name: sum(each[1:]) for name, each in theirs.items()} == {name: each.edits for name, each in ours.items()}

"""Two files of transcripts from Python: as ``score`` compares them, with what it notes."""

from __future__ import annotations

import logging

import pytest

from snn_asr.errors import UsageError
from snn_asr.scoring.score_files import SPEAKER, score_files


@pytest.fixture
def files(tmp_path):
    reference, hypothesis = tmp_path / "reference.trn", tmp_path / "text"
    reference.write_text("{ the / a } cat sat (ann-1)\nhello world (ann-2)\nyes (bob-1)\nno (bob-2)\n")
    hypothesis.write_text("ann-1 a cat sat\nann-2 hello\nbob-1 yes\nbob-2 no no\n")
    return reference, hypothesis


def test_utterances_are_paired_and_the_best_alternative_counts(files):
    notes: list[str] = []
    found = score_files(*files, note=notes.append)
    assert (found.score.total.edits, found.score.total.reference_length) == (2, 7)
    assert found.speakers is None and notes == []


def test_speakers_are_looked_for_where_they_are_needed(files):
    found = score_files(*files, by_speaker=True)
    assert found.speakers is not None and found.speakers.count == 2
    assert found.score.by_speaker(found.speakers.by_utterance)["bob"].total.insertions == 1
    assert score_files(*files, resampled=SPEAKER).speakers == found.speakers
    with pytest.raises(UsageError, match="unknown thing to resample 'word'"):
        score_files(*files, resampled="word")


def test_what_may_be_amiss_is_noted_or_else_logged(files, caplog):
    reference, hypothesis = files
    hypothesis.write_text(hypothesis.read_text().upper().replace("ANN", "ann").replace("BOB", "bob"))
    notes: list[str] = []
    score_files(reference, hypothesis, note=notes.append)
    assert len(notes) == 1 and notes[0].startswith("one side is in capitals") and not caplog.records
    with caplog.at_level(logging.WARNING):
        score_files(reference, hypothesis)
    assert [each.getMessage() for each in caplog.records] == notes

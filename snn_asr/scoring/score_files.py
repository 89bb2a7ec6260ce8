"""Scoring files: hypotheses against references in any of the usual formats, with their speakers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from snn_asr.data.transcripts import by_file_name, by_recording, read_transcripts, recordings_of
from snn_asr.errors import unknown_name
from snn_asr.scoring import error_rates
from snn_asr.scoring.alternatives import choose_readings
from snn_asr.scoring.error_rates import Score
from snn_asr.scoring.speakers import Speakers, find_speakers

RESAMPLED = UTTERANCE, SPEAKER = ("utterance", "speaker")  # what the bootstrap of the interval may draw

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileScore:
    """The score of a file or folder of hypotheses; ``speakers`` are None where nobody asked for them."""

    score: Score
    speakers: Speakers | None


def score_files(
    reference: str | Path, hypothesis: str | Path, unit: str = "word", *, phone_set: str | None = None,
    resampled: str = UTTERANCE, by_speaker: bool = False, speakers_file: str | Path | None = None,
    allow_extra: bool = False, note: Callable[[str], None] = log.warning,
) -> FileScore:
    """Compare two files or folders of transcripts (``read_transcripts`` says which formats).

    ``unit``, ``phone_set`` and ``allow_extra`` are as for ``error_rates.score``. Utterances are found by their ids, by
    the names of files, or by the recordings that a manifest names. Of alternatives in a reference, those are taken that
    fit the hypothesis best. Speakers are looked for, as by ``find_speakers``, if ``by_speaker`` asks for them or
    ``resampled``, one of RESAMPLED, does. ``note`` is called with each line about what may be amiss.

    Raises UsageError for an unknown unit or thing to resample, and DataError for files that cannot be read or scored.
    """
    error_rates.check_unit(unit)
    if resampled not in RESAMPLED:
        raise unknown_name("thing to resample", resampled, RESAMPLED, "--bootstrap")
    expected = read_transcripts(reference, unit, "reference")
    recognised = read_transcripts(hypothesis, unit, "hypothesis")
    for line in (*expected.notes, *recognised.notes):
        note(line)
    named = by_recording(by_file_name(recognised, expected), expected, recordings_of(reference))
    references, hypotheses = choose_readings(expected, named, (expected.marked, recognised.marked))
    speakers = None
    if by_speaker or resampled == SPEAKER:
        speakers = find_speakers(references, (reference, hypothesis), speakers_file)
    clusters = speakers.by_utterance if speakers is not None and resampled == SPEAKER else None
    result = error_rates.score(
        references, hypotheses, unit, phone_set=phone_set, allow_extra=allow_extra, clusters=clusters
    )
    if unit == "phone" and phone_set is None and error_rates.would_fold(references):
        note("TIMIT's phones are usually scored on 39 (--phone-set 39)")
    if error_rates.differ_in_case(references, hypotheses):
        note("one side is in capitals, the other in small letters; write both in the same")
    return FileScore(result, speakers)

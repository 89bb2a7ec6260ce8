"""The test utterances with the most errors in a comparison, aligned with what was said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from snn_asr.reports.comparison import FinishedRun
from snn_asr.scoring.alignments import DELETION, INSERTION, MATCH, SUBSTITUTION, Edit, shown

SHOWN = 10  # utterances
LONGEST = 200  # edits of an utterance that are shown
_WORDS = {MATCH: "", SUBSTITUTION: "substitution", INSERTION: "insertion", DELETION: "deletion"}
_KINDS = {MATCH: "match", SUBSTITUTION: "S", INSERTION: "I", DELETION: "D"}


@dataclass(frozen=True)
class ShownEdit:
    """One column of an alignment; ``word`` names the kind of error for people who have the page read to them."""

    kind: str
    word: str
    reference: str
    hypothesis: str
    no_reference: bool
    no_hypothesis: bool


@dataclass(frozen=True)
class Recognized:
    """What the first run of one row recognised, and how wrong it is in words."""

    name: str
    errors: str
    edits: Sequence[ShownEdit]


@dataclass(frozen=True)
class WorstUtterance:
    """One utterance; ``audio`` is the address of its recording for a player, or "" if there is none."""

    name: str
    audio: str
    heard: Sequence[Recognized]


def worst(
    groups: Mapping[str, Sequence[FinishedRun]], address: Callable[[str], str]
) -> list[WorstUtterance]:
    """Return the utterances with the most errors over all runs, with the alignment of the first run of every group.

    Utterances with equally many errors are in the order of their ids. ``address`` returns the address of an utterance's
    recording.
    """
    edits: dict[str, int] = {}
    for runs in groups.values():
        for run in runs:
            for name, counts in run.counts.items():
                edits[name] = edits.get(name, 0) + counts.edits
    wrong = sorted((name for name in edits if edits[name]), key=lambda name: (-edits[name], name))
    return [
        WorstUtterance(name, address(name), [_heard(label, runs[0], name) for label, runs in groups.items()])
        for name in wrong[:SHOWN]
    ]


def _heard(label: str, run: FinishedRun, name: str) -> Recognized:
    alignment = run.score.alignments[name]
    counts, unit = alignment.counts, run.score.unit
    said = f"{counts.reference_length} {unit}{'' if counts.reference_length == 1 else 's'}"
    errors = f"{counts.edits} {'error' if counts.edits == 1 else 'errors'} in {said}"
    more = len(alignment.edits) - LONGEST
    shown_edits = [_shown(each) for each in alignment.edits[:LONGEST]]
    return Recognized(label, errors + (f" (the last {more} columns are left out)" if more > 0 else ""), shown_edits)


def _shown(edit: Edit) -> ShownEdit:
    return ShownEdit(
        _KINDS[edit.operation], _WORDS[edit.operation], shown(edit.reference), shown(edit.hypothesis),
        edit.reference is None, edit.hypothesis is None,
    )

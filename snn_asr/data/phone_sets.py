"""TIMIT's phones in three sets: the 61 of the transcripts, and the 48 and 39 that they are folded into.

K.-F. Lee and H.-W. Hon, Speaker-independent phone recognition using hidden Markov models, IEEE Transactions on
Acoustics, Speech, and Signal Processing 37 (1989): models are trained on 48 (or 61), and scored on 39.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from snn_asr.errors import unknown_name

PHONE_SETS = ("61", "48", "39")  # the finest first


def phone_folding(phone_set: str | int) -> dict[str, str | None]:
    """The label in the set of 61, 48 or 39 phones for every TIMIT label, or None if it is left out.

    Takes labels of that set and of every finer one. Raises UsageError for an unknown set.
    """
    if str(phone_set) not in PHONE_SETS:
        raise unknown_name("phone set", str(phone_set), (*PHONE_SETS, "corpus"))
    column = PHONE_SETS.index(str(phone_set))
    folding = {}
    for row in _phone_table():
        for label in row[: column + 1]:
            folding[label] = row[column]
    return {label: None if target == "-" else target for label, target in folding.items() if label != "-"}


@cache
def _phone_table() -> tuple[tuple[str, ...], ...]:
    text = resources.files("snn_asr.data").joinpath("timit_phones.txt").read_text(encoding="utf-8")
    return tuple(tuple(line.split()) for line in text.splitlines() if not line.startswith("#"))

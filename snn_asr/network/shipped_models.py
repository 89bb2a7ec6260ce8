"""Trained models that come with the package: MODEL may be the name of one wherever it may be a folder.

    shipped/NAME/     a model folder, and card.md: a line that says what it knows, then how it was trained and tested
"""

from __future__ import annotations

from pathlib import Path

from snn_asr.errors import unknown_name
from snn_asr.files import read_text

FOLDER = Path(__file__).with_name("shipped")
CARD = "card.md"


def discover() -> dict[str, Path]:
    """The model folder of every shipped model, by name."""
    return {path.parent.name: path.parent for path in sorted(FOLDER.glob(f"*/{CARD}"))}


def card(name: str) -> str:
    """What is to be known of a shipped model, in Markdown. Raises UsageError for an unknown name."""
    found = discover()
    if name not in found:
        raise unknown_name("model", name, found)
    return read_text(found[name] / CARD)


def summary(name: str) -> str:
    """What a shipped model knows, in one line."""
    return card(name).splitlines()[0].removeprefix("#").strip()

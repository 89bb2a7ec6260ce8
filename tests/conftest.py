"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real speech: $SNN_ASR_DATA, or ``shared/data`` beside the checkout; skips where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SNN_ASR_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real speech at {folder} (set SNN_ASR_DATA)")
    return folder

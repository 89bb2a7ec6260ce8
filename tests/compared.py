"""The rows of the table of ``compare``, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snn_asr.reports.comparison import Row, compare_groups, read_groups


def compare_runs(folders: Sequence[str | Path], baseline: str | None = None) -> list[Row]:
    """One row for each group of the runs in these folders."""
    return compare_groups(read_groups(folders), baseline)

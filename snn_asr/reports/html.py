"""Finished runs as one page for a browser. The file holds everything except most recordings that it plays.

The page has no script and loads nothing from a network. The template engine (templates/report.html) escapes all texts
of recordings, names and paths.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from snn_asr.errors import as_user_error
from snn_asr.files import write_text
from snn_asr.reports.comparison import FinishedRun, Row, compare_groups, read_groups
from snn_asr.reports.players import Players
from snn_asr.reports.rendering import render
from snn_asr.reports.report import report_of
from snn_asr.training.run_folder.folder import REPORT, is_report

log = logging.getLogger(__name__)


def write_report(groups: Mapping[str, Sequence[FinishedRun]], rows: Sequence[Row], output: Path) -> None:
    """Write the report of compared runs, replacing an earlier one. Raises DataError if it cannot be written."""
    write_text(output, page(groups, rows, Players(output, within=True)))


def leave_report(folder: Path) -> None:
    """Put the report of one finished run into its folder, unless there is one already.

    The run is complete without it. If something prevents it, such as a full disk or a file of the user's, this is
    logged and is no error.
    """
    path = folder / REPORT
    if is_report(path):
        return
    if os.path.lexists(path):
        log.warning("%s: is no report of snn-asr, and is left as it is", path)
        return
    try:
        groups = read_groups([folder])
        write_text(path, page(groups, compare_groups(groups), Players(path, within=False)))
    except Exception as error:
        log.debug("%s", path, exc_info=error)
        described = as_user_error(error)
        log.warning("no report of this run: %s", described or f"{path}: {type(error).__name__}: {error}")


def page(groups: Mapping[str, Sequence[FinishedRun]], rows: Sequence[Row], players: Players) -> str:
    """Return the report as HTML."""
    return render("report.html", report=report_of(groups, rows, players))

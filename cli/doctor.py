"""``snn-asr doctor``: versions, devices, backends, what is missing and how to get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say what is installed, what runs, what is missing.

    The exit code is 4 if something required is missing or broken.
    """
    from snn_asr.doctor import OK, examine, healthy
    from snn_asr.errors import DataError

    findings = examine()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            todo = f" -> {finding.todo}" if finding.todo else ""
            typer.echo(f"{finding.status:<8} {finding.name:<{width}}  {finding.detail}{todo}")
    if not healthy(findings):
        wrong = ", ".join(finding.name for finding in findings if finding.required and finding.status != OK)
        raise DataError(f"not in order: {wrong}", "installation", "do what stands after the arrows")

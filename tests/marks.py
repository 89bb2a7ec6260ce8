"""Parameters of tests with their marks: which cases ``make test-fast`` tries, which ``make test``, which neither."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def graded(cases: Iterable[Any], fast: Collection[Any], thorough: Collection[Any] | None = None) -> list[Any]:
    """The cases as parameters, a tuple as several.

    Those of ``fast`` get no mark, those of ``thorough`` that mark and all others ``slow``; without ``thorough`` all
    others are thorough.
    """
    parameters = []
    for case in cases:
        rest = pytest.mark.thorough if thorough is None or case in thorough else pytest.mark.slow
        parameters.append(
            pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in fast else rest)
        )
    return parameters

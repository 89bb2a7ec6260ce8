"""Fills in the templates in templates/. Every value is shown as text and can never become markup of the page."""

from __future__ import annotations

import re
from typing import Any

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render(template: str, **values: Any) -> str:
    """Fill in the template of this name with the given values; a name without a value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("snn_asr.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_printable,
    )
    return engine.get_template(template).render(values)


def _printable(value: object) -> object:
    """Replace characters that no page may contain with the replacement character."""
    if isinstance(value, str) and _UNPRINTABLE.search(value):
        return type(value)(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value))
    return value

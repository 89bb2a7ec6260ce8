"""Templates (templates/) filled in: whatever a value holds, it is shown as text and never becomes part of the page."""

from __future__ import annotations

import re
from typing import Any

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render(template: str, **values: Any) -> str:
    """The template of this name with the values that it names; a name without a value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    engine = Environment(
        loader=PackageLoader("snn_asr.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_printable,
    )
    return engine.get_template(template).render(values)


def _printable(value: object) -> object:
    """Characters that no page may hold are shown as the replacement character."""
    if isinstance(value, str) and _UNPRINTABLE.search(value):
        return type(value)(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value))
    return value

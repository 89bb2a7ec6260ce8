"""Numbers as constants in C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LINE = 116  # characters
_BYTES = {"float": 4, "real": 4, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4}


@dataclass(frozen=True)
class Table:
    """``text`` defines the constant; ``nbytes`` are its size on a device, where a ``real`` is a float."""

    text: str
    nbytes: int


def table(kind: str, name: str, values: np.ndarray, comment: str = "") -> Table:
    """``static const kind name[...] = {...};`` from an array of one or more dimensions."""
    shape = "".join(f"[{size}]" for size in values.shape)
    said = f"/* {comment} */\n" if comment else ""
    head = f"{said}static const {kind} {name}{shape} = {{\n"
    return Table(f"{head}{_body(kind, values)}}};\n", values.size * _BYTES[kind])


def _body(kind: str, values: np.ndarray) -> str:
    if values.ndim == 1:
        return wrapped([number(kind, each) for each in values.tolist()])
    return "".join(f"{{\n{_body(kind, each)}}},\n" for each in values)


def wrapped(words: Sequence[str]) -> str:
    """Words with commas behind them, in lines."""
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > LINE:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "".join(f"{each}\n" for each in [*lines, line])


def number(kind: str, value: float) -> str:
    """A literal that is read as the same number again."""
    if kind == "real":
        return f"{value:.17g}"
    if kind != "float":
        return str(value)
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def string(text: str) -> str:
    """A literal of a text in UTF-8."""
    plain = "".join(
        chr(each) if 32 <= each < 127 and chr(each) not in '"\\?' else f"\\{each:03o}" for each in text.encode("utf-8")
    )
    return f'"{plain}"'

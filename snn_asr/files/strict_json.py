"""Strict reading of JSON: values that Python's reader accepts but that would be lost or do harm later are errors."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from snn_asr.errors import DataError

_LONGEST_WHOLE_NUMBER = 20  # digits (and sign) of 64 bits


def parse_json(text: str, where: object, *, file_names: bool = False) -> object:
    """The value of a JSON text.

    Raises DataError about ``where`` for text that is not JSON, a key that an object has twice, whole numbers beyond 64
    bits, nesting that is too deep for Python, and halves of surrogate pairs, which cannot be written to a file.
    ``file_names`` allows such halves, because Python represents bytes in file names that are not UTF-8 by them.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
        if not file_names and ("\\ud" in text or "\\uD" in text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("holds half of a surrogate pair (\\ud800 to \\udfff)", where, "write it anew") from error
    except RecursionError as error:
        raise DataError("not valid JSON (nested too deeply)", where, "write it anew") from error
    except MemoryError as error:
        raise DataError("there is not enough memory for it", where, "make it smaller") from error
    except ValueError as error:  # json.JSONDecodeError is one
        raise DataError(f"not valid JSON ({error})", where, "write it anew") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The keys and values of a JSON object as a dictionary. Raises ValueError for a key that occurs twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"'{twice}' is there twice")
    return value


def _whole_number(digits: str) -> int:
    """A whole number. Raises ValueError beyond 64 bits: nothing is counted so far, and arithmetic would fail later."""
    if len(digits) > _LONGEST_WHOLE_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)

"""JSON read strictly: what Python's own reader lets pass, and what would be lost or do harm later, is an error."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from snn_asr.errors import DataError

_LONGEST_WHOLE_NUMBER = 20  # digits (and sign) of 64 bits


def parse_json(text: str, where: object, *, file_names: bool = False) -> object:
    """The value of a JSON text. Raises DataError about ``where`` for what is not JSON, and for what would be lost or
    do harm later: a key that an object has twice, whole numbers beyond 64 bits, nesting beyond what Python can follow,
    and halves of surrogate pairs, which no file can hold.

    ``file_names`` lets such halves pass: Python writes the bytes of a file's name so that are not UTF-8.
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
    """A JSON object's keys and values as a dictionary. Raises ValueError for a key that is there twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"'{twice}' is there twice")
    return value


def _whole_number(digits: str) -> int:
    """Raises ValueError beyond 64 bits: no count, time or size is so large, and arithmetic with it fails far away."""
    if len(digits) > _LONGEST_WHOLE_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)

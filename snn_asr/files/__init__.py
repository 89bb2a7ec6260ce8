"""Files of all kinds, written whole or not at all and read strictly.

Nearly every module needs the names of ``writing.py`` and ``reading.py``, so they can be imported from here. Journals,
which grow line by line, are in ``journals.py``, and locks between processes in ``locks.py``.
"""

from snn_asr.files.reading import read_json, read_json_object, read_text, require_regular, sha256, utf8_path
from snn_asr.files.special_files import is_special
from snn_asr.files.writing import (
    atomic_path,
    cannot_write,
    encoded,
    is_half,
    json_text,
    remove_leftovers,
    write_bytes,
    write_json,
    write_text,
    write_together,
)

__all__ = [
    "atomic_path", "cannot_write", "encoded", "is_half", "is_special", "json_text", "read_json", "read_json_object",
    "read_text", "remove_leftovers", "require_regular", "sha256", "utf8_path", "write_bytes", "write_json",
    "write_text", "write_together",
]

"""Standard input, output and error, which may be closed, full, or in an encoding that lacks most letters.

Services, cron jobs and containers start programs like that. Results that nobody wants (a closed output) are no error,
because the files are still written. Results that cannot be written are an error. A failure to write notes on standard
error never ends the program.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, NoReturn, TextIO

from snn_asr.errors import DataError

_ERRORS = "snn_asr"  # the name under which ``_spelt_out`` is registered as an error handler of codecs
_WITHOUT_MARK = {"utf-8": "utf-8-sig"}  # the byte-order mark, which some editors put at the beginning of a file
_OTHER_SIGNS = {"\N{MULTIPLICATION SIGN}": "x", "\N{RIGHTWARDS ARROW}": "->", "\N{HORIZONTAL ELLIPSIS}": "..."}


def prepare_streams() -> None:
    """Make the three standard streams of this process usable. To be called at the start of the program."""
    for descriptor in range(3):
        _keep_taken(descriptor)
    if sys.stdin is None:
        sys.stdin = ClosedInput()
    elif isinstance(sys.stdin, io.TextIOWrapper):  # it may hold a list of files, whose names are bytes in any encoding
        names = sys.getfilesystemencoding()
        sys.stdin.reconfigure(encoding=_WITHOUT_MARK.get(names, names), errors="surrogateescape")
    codecs.register_error(_ERRORS, _spelt_out)
    output, notes = (each or open(os.devnull, "w", encoding="utf-8") for each in (sys.stdout, sys.stderr))
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors=_ERRORS)
    sys.stdout, sys.stderr = Results(output), Notes(notes)


def flush_output() -> OSError | None:
    """Write what standard output still holds.

    Returns the error that prevented it, if any; nothing more is written to standard output after one.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise Python would try again at its exit, and print a warning.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


class ClosedInput(io.TextIOBase):
    """Replaces a standard input that is closed: reading from it raises a DataError."""

    def _refuse(self, *_: object) -> NoReturn:
        raise DataError("is closed", "standard input", "name files, or redirect something into it")

    read = readline = _refuse

    def __iter__(self) -> NoReturn:
        self._refuse()

    @property
    def buffer(self) -> Any:
        self._refuse()


class Results:
    """Standard output whose errors say where they come from: an OSError names "standard output" as its file.

    It has no ``buffer``. With one, Click would write UTF-8 to it if the encoding is ASCII, against the user's choice.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            return self._failed(error)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> int:
        raise OSError(error.errno, error.strerror, "standard output") from error

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


class Notes(Results):
    """Standard error that ignores errors: what cannot be written is dropped."""

    def _failed(self, error: OSError) -> int:
        return 0


def _keep_taken(descriptor: int) -> None:
    """Open /dev/null if a standard stream is closed, because the next opened file would otherwise get its number."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    """Return what an encoding lacks as other signs, or as the escapes of JSON and Python (``\\u00e9``)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_OTHER_SIGNS.get(each) or _escaped(each) for each in lacking), error.end


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2))

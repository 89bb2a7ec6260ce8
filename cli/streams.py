"""Standard input, output and error as the program finds them: closed, full, or in an encoding that lacks most letters.

A service, a cron job or a container starts programs so. What is done then: results that go nowhere are no error (the
files are written), but results that cannot be written are; notes on standard error are never worth an end of the work.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, NoReturn, TextIO

from snn_asr.errors import DataError

_ERRORS = "snn_asr"  # the name of ``_spelt_out`` among Python's ways to treat what an encoding lacks
_WITHOUT_MARK = {"utf-8": "utf-8-sig"}  # of byte order, with which some editors begin a file
_OTHER_SIGNS = {"\N{MULTIPLICATION SIGN}": "x", "\N{RIGHTWARDS ARROW}": "->", "\N{HORIZONTAL ELLIPSIS}": "..."}


def prepare_streams() -> None:
    """Make the three streams of this process usable, whatever they are; for the beginning of the program."""
    for descriptor in range(3):
        _keep_taken(descriptor)
    if sys.stdin is None:
        sys.stdin = ClosedInput()
    elif isinstance(sys.stdin, io.TextIOWrapper):  # lists of files: names are bytes, in whatever encoding
        names = sys.getfilesystemencoding()
        sys.stdin.reconfigure(encoding=_WITHOUT_MARK.get(names, names), errors="surrogateescape")
    codecs.register_error(_ERRORS, _spelt_out)
    output, notes = (each or open(os.devnull, "w", encoding="utf-8") for each in (sys.stdout, sys.stderr))
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors=_ERRORS)
    sys.stdout, sys.stderr = Results(output), Notes(notes)


def flush_output() -> OSError | None:
    """Write what standard output still holds; the error that stopped it, after which nothing more is written there."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise Python tries again at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


class ClosedInput(io.TextIOBase):
    """Stands for a standard input that is closed: whoever reads it gets a DataError."""

    def _refuse(self, *_: object) -> NoReturn:
        raise DataError("is closed", "standard input", "name files, or redirect something into it")

    read = readline = _refuse

    def __iter__(self) -> NoReturn:
        self._refuse()

    @property
    def buffer(self) -> Any:
        self._refuse()


class Results:
    """Standard output whose errors say where they come from: an OSError of it has "standard output" as its file.

    It shows no ``buffer``: Click would write UTF-8 there, past the user's choice, where the encoding is ASCII.
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
    """Standard error that takes all it can: what cannot be written is dropped, without an error."""

    def _failed(self, error: OSError) -> int:
        return 0


def _keep_taken(descriptor: int) -> None:
    """Open /dev/null where a standard stream is closed: the next file opened would take its number, and its text."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in other signs or as the escapes that JSON and Python know (``\\u00e9``)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_OTHER_SIGNS.get(each) or _escaped(each) for each in lacking), error.end


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2))

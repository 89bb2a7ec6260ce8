"""numba's compiler with a folder for compiled functions: beside the code, in the user's cache, or else a temporary one.

numba looks for a folder itself and fails if it finds none, as in a read-only installation with an unwritable home
folder, which services and containers have. The loops of this package are therefore compiled by the ``njit`` of this
module. A command that needs none of them does not look for a folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from snn_asr.errors import UsageError

VARIABLE = "NUMBA_CACHE_DIR"
COMPILING = "numba:compile"  # numba's name of the event

# The sources of compiled functions, which contain each other and constants of the cells.
SOURCES = ("network/kernels/cpu/*.py", "network/cells/*.py", "network/coder*.py", "events/kernels/*.py")

log = logging.getLogger(__name__)


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` with these options, for functions that are kept on disk (``cache=True``).

    A function is always inlined into its callers. Otherwise there would be two versions of it, one by itself and one
    within its caller, optimised separately and rounding differently. Which of them runs would depend on whether the
    caller was just compiled or loaded from disk, and the first training on a machine would differ from the second.

    A function is compiled again if any of the sources has changed. numba itself looks only at the file of the function,
    and would go on running old versions of the functions that it calls.
    """
    _provide_once()

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(forceinline=True, **options)(function)
        kept: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
        if hasattr(kept, "_source_stamp"):  # an internal of numba: a test fails if it is gone
            kept._source_stamp = (kept._source_stamp, digest_of_sources())
        return dispatcher

    return compiled


@cache
def digest_of_sources() -> str:
    """A digest of all files that compiled functions are made of."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _provide_once() -> None:
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise UsageError("NUMBA_DISABLE_JIT is set: the loops cannot run uncompiled", "environment", "unset it")
    provide_kernel_cache()
    if sys.stderr.isatty():  # somebody waits; a file or pipe gets the same lines whether or not kernels are there
        event.register(COMPILING, TellOfCompiling())


class TellOfCompiling(event.Listener):  # type: ignore[misc]  # numba has no types
    """Logs one line when the first function that is kept on disk is compiled, because the first command on a machine
    would otherwise be silent for as long as that takes."""

    def __init__(self) -> None:
        self._told = False

    def on_start(self, event: Any) -> None:
        """Called before each compilation; functions that are loaded from the disk are none."""
        kept = getattr(getattr(event.data["dispatcher"], "_cache", None), "_cache_file", None)
        if kept is not None and not self._told:
            self._told = True
            log.info("compiling for this processor: it takes up to a minute, and is kept for the next time")

    def on_end(self, event: Any) -> None:
        """Called after each compilation, of which there are many."""


def provide_kernel_cache() -> None:
    """Have numba keep compiled functions in a temporary folder, and log this, if it would find no other folder.

    The variable NUMBA_CACHE_DIR names the folder, so that processes that are started later find it too.
    """
    if os.environ.get(VARIABLE) or is_writable(beside_the_code()) or is_writable(_of_the_user()):
        return
    folder = _temporary_folder()
    log.info("compiled kernels are kept in %s: neither the installation nor the home folder can be written", folder)
    os.environ[VARIABLE] = str(folder)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # the variable was read as numba was imported


def beside_the_code() -> Path:
    """Where numba keeps compiled functions if it can: in a folder of the installation."""
    return Path(__file__).parent / "network" / "kernels" / "cpu" / "__pycache__"


def _of_the_user() -> Path:
    """numba's folder in the user's cache on Linux; elsewhere it stands for a home folder that can be written."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in this folder, which is made if it is not there.

    Permissions do not tell, on a read-only disk or for root.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return False


def _temporary_folder() -> Path:
    """A folder for all processes of this user. numba loads code from it, so nobody else may be able to write there."""
    folder = Path(tempfile.gettempdir()) / f"snn-asr-kernels-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        if own and is_writable(folder):
            return folder
    except OSError:
        log.debug("%s cannot be used", folder)
    return Path(tempfile.mkdtemp(prefix="snn-asr-kernels-"))

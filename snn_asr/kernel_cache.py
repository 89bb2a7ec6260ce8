"""numba's compiler with a place for what it compiles: beside the code, or in the user's cache; else a temporary folder.

numba looks for a place by itself, and fails where it finds none: in a read-only installation with an unwritable home
folder, as services and containers have. Compiled loops of this package are therefore declared with the ``njit`` of this
module; a command that needs none of them looks for no place.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from snn_asr.errors import UsageError

VARIABLE = "NUMBA_CACHE_DIR"

# What compiled functions have in them: each other, and constants of the cells.
_SOURCES = ("network/kernels/cpu/*.py", "network/cells/*.py", "network/coder*.py", "events/kernels/*.py")

log = logging.getLogger(__name__)


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` with these options, for functions that numba may have to find a place for (``cache=True``).

    What a compiled function calls becomes part of it. Otherwise it would be there twice, by itself and within its
    caller, optimised apart and rounding differently, and which of the two runs would depend on whether the caller was
    compiled or found compiled: the first training on a machine would not be the second one, bit for bit.

    What was compiled from other sources is compiled anew. numba by itself looks at the file of a function alone, and
    would go on running an old version of what the function calls.
    """
    _provide_once()

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(forceinline=True, **options)(function)
        kept: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
        if hasattr(kept, "_source_stamp"):  # numba's own, and no promise of it: a test tells where it is gone
            kept._source_stamp = (kept._source_stamp, _sources())
        return dispatcher

    return compiled


@cache
def _sources() -> str:
    """A digest of all files that compiled functions are made of."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _provide_once() -> None:
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise UsageError("NUMBA_DISABLE_JIT is set: the loops cannot run uncompiled", "environment", "unset it")
    provide_kernel_cache()


def provide_kernel_cache() -> None:
    """Have numba keep compiled functions in a temporary folder, and say so, where it would find no place to write.

    The folder is named by the variable NUMBA_CACHE_DIR, so that processes that are started later find it too.
    """
    if os.environ.get(VARIABLE) or _writable(_beside_the_code()) or _writable(_of_the_user()):
        return
    folder = _temporary_folder()
    log.info("compiled kernels are kept in %s: neither the installation nor the home folder can be written", folder)
    os.environ[VARIABLE] = str(folder)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # the variable was read as numba was imported


def _beside_the_code() -> Path:
    return Path(__file__).parent / "network" / "kernels" / "cpu" / "__pycache__"


def _of_the_user() -> Path:
    """numba's folder of the user (on Linux; elsewhere its nearest likeness: a home folder that can be written)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _writable(folder: Path) -> bool:
    """Whether a file can be made there: rights alone do not tell, on a read-only disk or for root."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return False


def _temporary_folder() -> Path:
    """One for all calls of this user; what numba loads from it is code, so nobody else may be able to write there."""
    folder = Path(tempfile.gettempdir()) / f"snn-asr-kernels-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        if own and _writable(folder):
            return folder
    except OSError:
        log.debug("%s cannot be used", folder)
    return Path(tempfile.mkdtemp(prefix="snn-asr-kernels-"))

"""The last two checkpoints of a run. Each holds a checksum and the identity of its run, so that a damaged checkpoint or
one of another run is recognised.

    checkpoint.pt              after the last epoch
    checkpoint-previous.pt     after the one before, until the run is finished

SpeechBrain's own checkpointer writes its meta file first and keeps no state of the random generators; here one file,
renamed into place, holds everything.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_asr import processes
from snn_asr.errors import DataError, describing
from snn_asr.files import atomic_path, require_regular

NAME, PREVIOUS, UNUSABLE = "checkpoint.pt", "checkpoint-previous.pt", "checkpoint-unusable.pt"
_IDENTITY, _CHECKSUM = "identity", "checksum"
_REMEDY = "remove it, or begin anew with --no-resume"

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of the run ``identity`` in ``folder``."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.path, self.previous, self.identity = folder / NAME, folder / PREVIOUS, identity
        self._whole = False  # whether the checkpoint at ``path`` has been read or written by this object

    @property
    def present(self) -> bool:
        """Whether there is any checkpoint."""
        return any(os.path.lexists(each) for each in (self.path, self.previous))

    def save(self, state: Mapping[str, Any], before: Callable[[], None] = lambda: None) -> None:
        """Write ``state``, which holds tensors and plain values. The last checkpoint becomes the previous one.

        ``before`` is called when the new checkpoint is on the disk and about to take its place. Raises DataError if it
        cannot be written; the earlier ones then stay as they are.
        """
        state = {**state, _IDENTITY: self.identity}
        content = io.BytesIO()
        torch.save({**state, _CHECKSUM: _checksum(state)}, content)
        with atomic_path(self.path) as temporary:
            with open(temporary, "wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            before()
            if self._whole:
                os.replace(self.path, self.previous)
        self._whole = True

    def load(self) -> dict[str, Any] | None:
        """The state of the last checkpoint that is intact and belongs to this run; None if there are no checkpoints.

        If the last one is damaged or belongs to another run, a warning names it, it is renamed, and the previous one is
        taken. Raises DataError, and renames nothing, if that is no better or absent.
        """
        refused: DataError | None = None
        for path in (self.path, self.previous):
            if not os.path.lexists(path):
                continue
            try:
                state = self._read(path)
            except DataError as error:
                refused = refused or error
                continue
            if refused is not None:
                self._put_aside(refused, state)
            self._whole = path == self.path
            return state
        if refused is not None:
            raise refused
        return None

    def remove_previous(self) -> None:
        """Remove the previous checkpoint of a finished run, which needs it no longer."""
        with describing(self.previous):
            self.previous.unlink(missing_ok=True)

    def owner(self) -> str | None:
        """The identity of the run whose intact checkpoint is here; None if there is none."""
        for path in (self.path, self.previous):
            try:
                return str(self._intact(path)[_IDENTITY])
            except DataError:
                continue
        return None

    def _put_aside(self, refused: DataError, state: Mapping[str, Any]) -> None:
        if not processes.is_main():
            return
        log.warning(
            "%s: %s; it is now %s, and the run goes on after epoch %s, from %s",
            refused.where, refused.what, UNUSABLE, state.get("epoch"), PREVIOUS,
        )
        with describing(self.path):
            os.replace(self.path, self.path.with_name(UNUSABLE))

    def _read(self, path: Path) -> dict[str, Any]:
        state = self._intact(path)
        if state.pop(_IDENTITY) != self.identity:
            raise DataError("a checkpoint of another run, with another recipe, options or data", path, _REMEDY)
        return state

    def _intact(self, path: Path) -> dict[str, Any]:
        """The state in a checkpoint, with the identity of its run. Raises DataError for one that is damaged."""
        try:
            require_regular(path)
            with open(path, "rb") as file:
                state = torch.load(file, map_location="cpu", weights_only=True)
        except DataError as error:
            raise DataError(error.what, path, _REMEDY) from error
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror or error})", path, _REMEDY) from error
        except Exception as error:  # torch's readers raise anything, depending on the bytes
            raise DataError(f"damaged, or no checkpoint ({type(error).__name__})", path, _REMEDY) from error
        if not isinstance(state, dict) or _CHECKSUM not in state:
            raise DataError("not a checkpoint of this version of snn-asr", path, _REMEDY)
        if state.pop(_CHECKSUM) != _checksum(state):
            raise DataError("damaged: its checksum is not that of its content", path, _REMEDY)
        return state


def _checksum(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    _feed(digest.update, dict(state))
    return digest.hexdigest()


def _feed(update: Callable[[Any], None], value: object) -> None:
    """Give a value to ``update`` as bytes, with types and sizes, so that different values never give the same bytes."""
    if isinstance(value, Tensor):
        tensor = value.detach().cpu().contiguous()
        update(f"tensor {tensor.dtype} {tuple(tensor.shape)} ".encode())
        update(tensor.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        update(f"mapping {len(value)} ".encode())
        for key, each in value.items():
            _feed(update, key)
            _feed(update, each)
    elif isinstance(value, (list, tuple)):
        update(f"{type(value).__name__} {len(value)} ".encode())
        for each in value:
            _feed(update, each)
    else:
        text = repr(value).encode()
        update(f"{type(value).__name__} {len(text)} ".encode() + text)

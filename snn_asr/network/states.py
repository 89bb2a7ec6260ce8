"""The state of a batch, row by row: rows can be kept, set back to the start, and joined from several batches.

Layers return their states as tensors in tuples, lists and named tuples. The first dimension of every tensor is that of
the batch, and a row starts at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def keep_rows(state: Any, rows: Sequence[int], batch: int) -> Any:
    """The state of some ``rows`` of a batch of ``batch`` rows, in this order."""
    if list(rows) == list(range(batch)):
        return state
    return change_tensors(state, lambda tensor: tensor.index_select(0, torch.tensor(rows, device=tensor.device)))


def restart_rows(state: Any, rows: Sequence[int], batch: int) -> Any:
    """The state with these rows set to zero; the given tensors are not changed."""
    if len(rows) == batch:
        return None
    if not rows:
        return state
    return change_tensors(state, lambda tensor: tensor.index_fill(0, torch.tensor(rows, device=tensor.device), 0))


def join_rows(states: Sequence[Any]) -> Any:
    """The state of a batch that has the rows of several batches, one after the other."""
    first = states[0]
    if len(states) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(states))
    if isinstance(first, (tuple, list)):
        return _like(first, [join_rows(parts) for parts in zip(*states, strict=True)])
    return first


def change_tensors(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The state with ``change`` applied to each of its tensors."""
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, (tuple, list)):
        return _like(state, [change_tensors(each, change) for each in state])
    return state


def _like(sequence: Any, parts: list[Any]) -> Any:
    """The parts in a tuple, list or named tuple of the same type as ``sequence``."""
    return type(sequence)(*parts) if hasattr(sequence, "_fields") else type(sequence)(parts)

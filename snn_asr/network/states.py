"""The state of a batch, row by row: which rows go on, which begin anew, and rows of several batches in one.

Layers return what they remember as tensors in tuples, lists and named tuples. A row of the batch is a row of every
tensor's first dimension, and starts at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def keep_rows(state: Any, rows: Sequence[int], batch: int) -> Any:
    """The state of these rows of a batch of so many, in this order."""
    if list(rows) == list(range(batch)):
        return state
    return change_tensors(state, lambda tensor: tensor.index_select(0, torch.tensor(rows, device=tensor.device)))


def restart_rows(state: Any, rows: Sequence[int], batch: int) -> Any:
    """The state with these rows at zero, where they start; the tensors given are left as they are."""
    if len(rows) == batch:
        return None
    if not rows:
        return state
    return change_tensors(state, lambda tensor: tensor.index_fill(0, torch.tensor(rows, device=tensor.device), 0))


def join_rows(states: Sequence[Any]) -> Any:
    """The state of a batch that has the rows of these one behind the other."""
    first = states[0]
    if len(states) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(states))
    if isinstance(first, (tuple, list)):
        return _like(first, [join_rows(parts) for parts in zip(*states, strict=True)])
    return first


def change_tensors(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The state with every tensor of it changed."""
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, (tuple, list)):
        return _like(state, [change_tensors(each, change) for each in state])
    return state


def _like(sequence: Any, parts: list[Any]) -> Any:
    """The parts in a tuple, list or named tuple as this one."""
    return type(sequence)(*parts) if hasattr(sequence, "_fields") else type(sequence)(parts)

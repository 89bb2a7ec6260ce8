"""The state of a batch, row by row: which rows go on, and which begin anew.

Layers return what they remember as tensors in tuples, lists and named tuples. The rows of the batch are a tensor's
first dimension, or its second behind the one layer of torch's GRU and LSTM; zero is where every row starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def keep_rows(state: Any, rows: Sequence[int], batch: int) -> Any:
    """The state of these rows of a batch of so many, in this order."""
    if len(rows) == batch:
        return state

    def kept(tensor: Tensor) -> Tensor:
        index = torch.tensor(rows, device=tensor.device)
        return tensor.index_select(_rows_dimension(tensor, batch), index)

    return _changed(state, kept)


def restart_rows(state: Any, rows: Sequence[int], batch: int) -> Any:
    """The state with these rows at zero, where they start; the tensors given are left as they are."""
    if len(rows) == batch:
        return None

    def restarted(tensor: Tensor) -> Tensor:
        index = torch.tensor(rows, device=tensor.device)
        return tensor.index_fill(_rows_dimension(tensor, batch), index, 0)

    return _changed(state, restarted) if rows else state


def _changed(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, (tuple, list)):
        parts = [_changed(each, change) for each in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return state


def _rows_dimension(tensor: Tensor, batch: int) -> int:
    return 0 if tensor.shape[0] == batch else 1

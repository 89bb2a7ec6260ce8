"""Training in several processes, which ``torchrun`` starts: the rank of this process, and sums over all processes.

Outside torchrun there is one process, rank 0 of 1, and the sums are those of this process. Each process works on its
share of every batch. The result is that of one process with the whole batch, because everything that is computed over a
batch (its loss, the statistics of batch normalisation, the extremes that a coder's range follows) is computed over all
shares.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from snn_asr.devices import send
from snn_asr.errors import SnnAsrError, UsageError

VARIABLES = ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # that torchrun sets besides RANK and LOCAL_RANK
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}  # by type of device
SILENCE = timedelta(seconds=60)  # of one process in training, after which the others end
PATIENCE = timedelta(days=1)  # while the first process prepares the data


def requested() -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in os.environ and "LOCAL_RANK" in os.environ


def check_environment() -> None:
    """Raise UsageError if the environment has only some of the variables that torchrun sets.

    Some clusters set some of them; each process would then train alone, and all into one folder.
    """
    if not requested():
        return
    for name in VARIABLES:
        if not os.environ.get(name):
            todo = "start the processes with torchrun, or unset RANK and LOCAL_RANK to train in one"
            raise UsageError(f"RANK and LOCAL_RANK are set, {name} is not", "environment", todo)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        if not os.environ[name].isdecimal():
            raise UsageError(f"{name}={os.environ[name]} is not a whole number", "environment", "start with torchrun")
    if int(os.environ["RANK"]) >= int(os.environ["WORLD_SIZE"]):
        what = f"RANK={os.environ['RANK']} is not below WORLD_SIZE={os.environ['WORLD_SIZE']}"
        raise UsageError(what, "environment", "start with torchrun")


def rank() -> int:
    """The number of this process, from 0, among those that train together."""
    return dist.get_rank() if _joined() else 0


def world() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if _joined() else 1


def is_main() -> bool:
    """Whether this is the process that writes, which is known also before the processes have joined."""
    return not requested() or os.environ["RANK"] == "0"


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined(device: str) -> Iterator[None]:
    """A block in which the processes that torchrun started are one group.

    An error in another process ends this one too: torchrun stops it, or the broken connection does, which raises
    SnnAsrError.
    """
    if not requested() or _joined():
        yield
        return
    if not is_main():
        logging.getLogger("snn_asr").setLevel(logging.WARNING)
    try:
        dist.init_process_group(BACKENDS[torch.device(device).type], timeout=SILENCE)
    except (dist.DistError, RuntimeError, ValueError, OSError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        what = f"the processes do not find each other ({str(error).splitlines()[0]})"
        raise UsageError(what, where, "start them with torchrun") from error
    try:
        yield
    except (dist.DistError, RuntimeError) as error:
        if not _is_of_the_group(error):
            raise
        raise SnnAsrError(
            f"another process failed or was lost ({str(error).splitlines()[0]})", f"process {rank()} of {world()}",
            "see its error; the same command goes on behind the last epoch",
        ) from error
    finally:
        dist.destroy_process_group()


def _is_of_the_group(error: BaseException) -> bool:
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Socket", "Broken pipe")
    return isinstance(error, dist.DistError) or any(each in str(error) for each in words)


@contextmanager
def main_first() -> Iterator[None]:
    """A block that the first process runs before all others, however long it takes. All leave it together."""
    group = dist.new_group(backend="gloo", timeout=PATIENCE) if world() > 1 else None
    if group is not None and rank() > 0:
        dist.barrier(group)
    yield
    if group is not None and rank() == 0:
        dist.barrier(group)
    if group is not None:
        dist.barrier(group)


def share(lengths: Sequence[int]) -> list[list[int]]:
    """For each process the positions in ``lengths`` of its share, so that the sums are nearly equal.

    The longest comes first, and each goes to the process with the least so far. The positions of a share are sorted.
    """
    shares: list[list[int]] = [[] for _ in range(world())]
    totals = [0] * world()
    for position in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        least = totals.index(min(totals))
        shares[least].append(position)
        totals[least] += lengths[position]
    return [sorted(each) for each in shares]


def gather(value: Any) -> list[Any]:
    """The ``value`` of every process, by rank."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def total(values: Tensor) -> Tensor:
    """The sum over all processes of numbers without gradient."""
    if world() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values


def count(mine: int, device: torch.device) -> int:
    """The sum over all processes of a number that each knows. With several processes this waits for the device."""
    return mine if world() == 1 else int(total(send(torch.tensor(mine), device)))


def extremes(values: Tensor) -> tuple[Tensor, Tensor] | None:
    """The smallest and the largest value (any shape) of all processes; None if no process has any."""
    if world() == 1:
        return (values.min(), values.max()) if values.numel() else None
    found = values.new_full((2,), -torch.inf)
    if values.numel():
        found = torch.stack((-values.min(), values.max()))
    dist.all_reduce(found, dist.ReduceOp.MAX)
    # Only a process without a value has to read the device, to find out whether another process has one.
    return (-found[0], found[1]) if values.numel() or torch.isfinite(found).all() else None


class _Sum(torch.autograd.Function):
    """The loss of every process depends on the sum, so its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return total(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return total(gradient)


def differentiable_total(values: Tensor) -> Tensor:
    """The sum over all processes; its gradient is that of the sum of all processes' losses."""
    return _Sum.apply(values)

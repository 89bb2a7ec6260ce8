"""The states of all random generators that a training uses, for its checkpoints."""

from __future__ import annotations

import random
from typing import Any

import torch

from snn_asr import processes


def capture(device: str) -> dict[str, Any]:
    """The states by name, in types that can be read from a checkpoint without running code."""
    version, numbers, gauss = random.getstate()
    states = {"torch_random": torch.get_rng_state(), "python_random": [version, list(numbers), gauss]}
    if device != "cpu" and torch.cuda.is_available():
        states["cuda_random"] = torch.cuda.get_rng_state(device)
    return states


def restore(states: dict[str, Any], device: str) -> None:
    """Continue from the states that ``capture`` gave. The dictionary may hold other values."""
    torch.set_rng_state(states["torch_random"])
    version, numbers, gauss = states["python_random"]
    random.setstate((version, tuple(numbers), gauss))
    if "cuda_random" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda_random"], device)


def seed_share(seed: int, epoch: int) -> None:
    """Seed this process of several for an epoch, so that each draws its own dropout and augmentation."""
    random.seed(f"{seed} {epoch} {processes.rank()}")
    torch.manual_seed(random.getrandbits(63))

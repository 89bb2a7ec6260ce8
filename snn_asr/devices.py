"""Which device runs: the one place that decides."""

from __future__ import annotations

import os

import torch

from snn_asr.errors import UsageError, unknown_name

DEVICES = ("auto", "cpu", "cuda")


def choose_device(requested: str) -> str:
    """``auto`` takes the GPU where there is one. Raises UsageError for an unknown name or an absent GPU."""
    if requested not in DEVICES:
        raise unknown_name("device", requested, DEVICES, "--device")
    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if requested == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch sees no GPU", "--device cuda", "use --device cpu, or see 'snn-asr doctor'")
    return requested


def own_device(device: str) -> str:
    """The device of this process, where torchrun has started one for each GPU of a machine."""
    local_rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{local_rank}" if device == "cuda" and local_rank is not None else device

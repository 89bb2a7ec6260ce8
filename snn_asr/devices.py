"""The devices and processors of the machine: which of them this process uses, and how values get to a device."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from snn_asr.errors import UsageError, unknown_name

DEVICES = ("auto", "cpu", "cuda")


def available_processors() -> int:
    """How many of the machine's processors this process may use. A container or a batch system may allow only some."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def use_one_core() -> None:
    """Restrict torch to one thread. The event engine's work on a frame is too little to share: threads would only
    wait."""
    torch.set_num_threads(1)


def choose_device(requested: str | torch.device) -> str:
    """The name of the device to use: ``auto`` takes the GPU if there is one, and ``cuda:1`` the second GPU.

    Raises UsageError for an unknown name or an absent GPU.
    """
    name = str(requested)
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and not (index.isdecimal() and (kind == "cuda" or name == "cpu:0"))):
        raise unknown_name("device", name, DEVICES, "--device")
    gpus = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda" if gpus else "cpu"
    if kind == "cuda" and int(index or 0) >= gpus:
        what = f"torch sees {gpus} GPUs" if gpus else "torch sees no GPU"
        raise UsageError(what, f"--device {name}", "use --device cpu, or see 'snn-asr doctor'")
    return "cpu" if kind == "cpu" else name


def own_device(device: str) -> str:
    """The device of this process: one of the GPUs, if torchrun has started a process for each."""
    local_rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{local_rank}" if device == "cuda" and local_rank is not None else device


def send(values: Tensor, device: torch.device | str) -> Tensor:
    """Values from the host on the device, without waiting for its other work; the values themselves if they are there
    already."""
    device = torch.device(device)
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device, non_blocking=True)

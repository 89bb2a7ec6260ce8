"""Which device runs: the one place that decides."""

from __future__ import annotations

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

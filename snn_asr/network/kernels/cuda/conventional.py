"""The conventional layer (cells/conventional.py) has no kernels on clusters, and runs on Triton."""

from __future__ import annotations

from snn_asr.network.kernels.triton.conventional import backward, forward

__all__ = ["backward", "forward"]

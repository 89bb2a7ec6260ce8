"""This cell of cells/conventional.py has no cluster kernels: it runs on Triton."""

from __future__ import annotations

from snn_asr.network.kernels.triton.conventional import backward, forward

__all__ = ["backward", "forward"]

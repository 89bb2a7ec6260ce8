"""This cell of cells/leaky_integrate_and_fire.py has no cluster kernels: it runs on Triton."""

from __future__ import annotations

from snn_asr.network.kernels.triton.leaky_integrate_and_fire import backward, forward

__all__ = ["backward", "forward"]

"""This cell of cells/spiking_lstm.py has no cluster kernels: it runs on Triton."""

from __future__ import annotations

from snn_asr.network.kernels.triton.spiking_lstm import backward, forward

__all__ = ["backward", "forward"]

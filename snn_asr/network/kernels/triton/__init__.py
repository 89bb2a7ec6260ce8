"""Triton on a CUDA device.

    tiles.py      what the kernels share: a program's tile, its products and gates, the coder, frames loaded ahead
    slopes.py     surrogate derivatives inside kernels
    scanning.py   launches of scans over all frames
    walking.py    launches of step kernels captured in a CUDA graph
    integrator.py the leaky integrator behind a layer
    products.py   large products on tensor cores
    <cell>.py     forward and backward kernels of a family

Without a recurrent product one launch walks all frames, state in registers (v1, lif, LIF, adLIF). With one, each frame
is a launch: the product with what all units sent at the frame before, and all element-wise work behind it. Rows stop at
their lengths. State is float32 (float64 for drives of that type); operands of the recurrent product are bfloat16 or
float16 where the drive or the weights are, sums are not. No TF32: on a dyadic grid all sums are exact, hence the spikes
the reference's.

docs/gpu.md has the design in full, and what was measured.
"""

from __future__ import annotations

from snn_asr.network.kernels.triton.integrator import low_pass
from snn_asr.network.kernels.triton.products import linear

__all__ = ["linear", "low_pass"]


"""Kernels in Triton, for a CUDA device.

    tiles.py      what the kernels share: a program's tile, its products and gates, the coder, frames loaded ahead
    slopes.py     surrogate derivatives inside kernels
    scanning.py   launches of scans over all frames
    walking.py    launches of step kernels captured in a CUDA graph
    integrator.py the leaky integrator behind a layer
    changes.py    features that are sent when they have changed
    products.py   large products on tensor cores
    <cell>.py     forward and backward kernels of a family

Without a recurrent product (v1, lif, LIF, adLIF) one launch walks all frames, and the state stays in registers. With a
recurrent product every frame is a launch of its own: the product with what all units sent at the frame before, and the
element-wise work behind it. Rows stop at their lengths.

The state is float32, or float64 for drives of that type. The operands of the recurrent product are bfloat16 or float16
if the drive or the weights are, but its sums are not. TF32 is not used: on a dyadic grid all sums are exact, so that
the spikes are those of the reference.

docs/gpu.md has the design in full, and what was measured.
"""

from __future__ import annotations

from snn_asr.network.kernels.triton.changes import hold
from snn_asr.network.kernels.triton.integrator import low_pass
from snn_asr.network.kernels.triton.products import linear

__all__ = ["hold", "linear", "low_pass"]


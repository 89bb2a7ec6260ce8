"""CUDA C++ for Hopper GPUs and later: walks whose recurrent weights stay on the chip.

    plan.py        how a layer is laid out on clusters of CTAs, and whether it fits
    compiling.py   NVRTC at run time, through the package cuda-core; results are kept on disk
    cluster.cuh, forward.cuh, backward.cuh, <cell>.cu   the kernels
    <cell>.py      forward and backward of a family

What does not fit, and cells without a recurrent product, run on the Triton backend: decided before the first frame, and
said once in the log. docs/gpu.md has the design in full.
"""

from __future__ import annotations

from snn_asr.network.kernels.triton import linear, low_pass

__all__ = ["linear", "low_pass"]

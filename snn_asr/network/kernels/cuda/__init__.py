"""Kernels in CUDA C++ for Hopper GPUs and later, which keep the recurrent weights on the chip for all frames.

    plan.py        how a layer is laid out on clusters of CTAs, and whether it fits
    compiling.py   NVRTC at run time, through the package cuda-core; results are kept on disk
    cluster.cuh, forward.cuh, backward.cuh, <cell>.cu   the kernels
    <cell>.py      forward and backward of a family

A CTA is a block of threads on one multiprocessor, and a cluster is a group of CTAs that can write into the memory of
one another. Layers that do not fit on a cluster, and cells without a recurrent product, run on the Triton backend. This
is decided before the first frame, and logged once. docs/gpu.md has the design in full.
"""

from __future__ import annotations

from snn_asr.network.kernels.triton import hold, linear, low_pass

__all__ = ["hold", "linear", "low_pass"]

"""numba on the CPU: compiled on first use and cached, one call for all frames of a share of the rows.

    tiles.py         the innermost loop of every product        products.py      events times packed weights
    elementwise.py   what a unit does by itself at a frame      slopes.py        surrogate derivatives
    frames.py        the walk over frames and rows              threads.py       work shared among threads
    integrator.py    the leaky integrator behind a layer        <cell>.py        forward and backward of a cell

A sum is one chain of multiply-adds in the order of the units that sent something, whatever else is in the batch, and
rows are shared among as many threads as torch uses: batched, alone, padded and chunked results, and those of one and
of many threads, are equal bit for bit.
"""

from snn_asr.network.kernels.cpu.integrator import low_pass
from snn_asr.network.kernels.cpu.products import linear

__all__ = ["linear", "low_pass"]

"""Kernels for the CPU, which numba compiles on first use and keeps in a cache on disk.

    <cell>.py        the forward and backward pass of a cell: loops over the frames of several rows
    frames.py        how those loops share out the rows, and multiply by the recurrent weights
    products.py      products of events and weights
    tiles.py         the innermost loop of these products
    elementwise.py   what every unit computes by itself at a frame
    slopes.py        surrogate derivatives
    integrator.py    the leaky integrator behind a layer
    changes.py       features that are sent when they have changed
    threads.py       work shared among threads

The rows of a batch are shared among as many threads as torch uses. A result is the same bit for bit whether a row is
computed alone or in a batch, with padding or without, whole or in chunks, and by one thread or by many: every sum is
one chain of multiply-adds, in the order of the units that sent something, and depends on nothing else in the batch.

In the backward passes a name ``grad_x`` stands for g_x, the gradient of the loss with respect to x. The equations are
those of kernels/reference/, where reference/__init__.py explains the signs.
"""

from snn_asr.network.kernels.cpu.changes import hold
from snn_asr.network.kernels.cpu.integrator import low_pass
from snn_asr.network.kernels.cpu.products import linear

__all__ = ["hold", "linear", "low_pass"]

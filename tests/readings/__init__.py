"""A second reading of the spiking networks' equations, one number at a time, to hold the fast code against.

Written from the published equations, without the library: scalars of float64 with automatic differentiation, plain
loops over rows, frames and units. Slow, and meant to be. What the equations leave open is read as the layers document
it: the range that codes the very first batch and its floor, which paths through the cell of the spiking LSTM meet a
surrogate, the stable coupling of the adaptive LIF.
A sequence is ``numbers[row][frame][unit]``; frames at and after a row's length are never looked at.
"""

"""Frame by frame on a CPU core: a stack of recurrent layers whose work follows the events. numba, one call a chunk.

    delivery.py        the weights that non-zero values select, rows or what pruning has left of them, float32 or int8
    vectors.py         its innermost loops, written in vectors
    four_products.py   the one of int8 rows, where a processor sums up four products of bytes in an instruction
    by_output.py       sums of what is left of pruned weights, output by output, for features, which are all sent
    arithmetic.py      what several cells share: logistic function, integrators, the coder
    <cell>.py          one frame of one layer: all element-wise work behind the products
    stack.py           the frames of a chunk through all layers and the head

A source (the features, or a layer) sends values; each non-zero one selects the row of its outgoing weights, which holds
all that it feeds: the gates of the next layer (or the head), and those of its own layer at the next frame. So a row is
read once a frame, from end to end, and what has not fired costs nothing; of a pruned row, only the blocks of weights
that are left are stored and read. ``every`` takes all values, zeros too: the
dense copy to compare with, and what layers that are never silent (GRU, LSTM) are run as.

Element-wise work is done in the order of kernels/cpu, operation by operation: where the products are exact, states are
equal to the last bit. It comes in short loops over few arrays, which compilers turn into vector instructions.
"""

"""The compiled code of the event engine: a stack of recurrent layers, frame by frame on one CPU core.

    stack.py           takes the frames of a chunk through all layers and the head: the function that is called
    <cell>.py          one frame of one layer: all element-wise work behind the products
    arithmetic.py      what several cells share: logistic function, integrators, the coder
    changes.py         sources that send only changes
    delivery.py        finds the values that are not zero, and adds up the weights that they select
    vectors.py         the innermost loops of delivery.py, written in vectors
    four_products.py   the loop for int8 rows on processors that sum up four products of bytes in one instruction
    by_output.py       sums of pruned weights, output by output, for features, all of which are sent

A source, the features or a layer, sends values. Each non-zero value selects the row of weights of its unit. This row
holds the weights to all that the unit feeds: the gates of the next layer (or the head), and those of its own layer at
the next frame. So a row is read at most once at a frame, from end to end, and a unit that has not fired costs nothing.
Of a pruned row only the blocks of weights that are left are stored and read. With ``every`` all values are taken, also
zeros. The dense engine, which serves as a comparison, runs like this, and so do layers that are never silent (GRU,
LSTM).

Element-wise operations are done in the same order as in network/kernels/cpu, so that the states are equal to the last
bit wherever the products are exact. They are short loops over few arrays, which compilers turn into vector
instructions.
"""

"""Sources that send only changes (network/changes.py), whose receivers add up the products of the changes.

The engine keeps what each receiver knows of a source: the values that the changes sent so far add up to. A change is
the difference between a value and what is known of it, and it is sent if it exceeds half the threshold of the source.

In float32 the source itself has held back all smaller changes, and after a change was sent its value is known exactly.
In int8 a change is rounded to whole levels, the largest of which is the largest change of the frame, and what is known
moves by the rounded change. The rest is below half the threshold and is sent with the next change, so that errors do
not add up.
"""

from __future__ import annotations

import numpy as np

from snn_asr.events.kernels.delivery import ROOM
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def collect_changes(values, known, threshold, every, index, sent):
    """As ``collect`` of delivery.py, for the changes of the values from what is ``known`` of them."""
    count = 0
    for k in range(values.shape[0]):
        change = values[k] - known[k]
        index[count] = k
        sent[count] = change
        count += every or abs(change) > threshold
    for k in range(count, count + ROOM):
        index[k] = index[count - 1] if count > 0 else 0
        sent[k] = 0
    return count


@njit(cache=True, nogil=True)
def learn(known, values, index, levels, count, unit):
    """Set what is ``known`` of the values after ``count`` changes were sent, those of the places in ``index``.

    They were sent as whole multiples, ``levels``, of the ``unit``, or exactly if the unit is 0.
    """
    for j in range(count):
        k = index[j]
        known[k] = values[k] if unit == 0 else known[k] + np.float32(levels[j]) * unit

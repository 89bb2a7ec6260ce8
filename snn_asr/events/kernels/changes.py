"""Sources that send changes: their receivers know what they were told, and add up the products.

A change is told that exceeds half the threshold of the source. In float32 the source has held back all others itself,
and what is known afterwards are its values. In int8 a change is rounded to levels of the largest one, and so much is
known: what was rounded away stays below half the threshold, and is told with the next change. Errors do not add up.
"""

from __future__ import annotations

import numpy as np

from snn_asr.events.kernels.delivery import ROOM
from snn_asr.kernel_cache import njit


@njit(cache=True, nogil=True)
def collect_changes(values, known, threshold, every, index, sent):
    """As delivery.collect, of the changes from what is ``known``."""
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
    """What is known of the values after ``count`` changes were sent, as ``levels`` of a ``unit``, or whole (0)."""
    for j in range(count):
        k = index[j]
        known[k] = values[k] if unit == 0 else known[k] + np.float32(levels[j]) * unit


@njit(cache=True, nogil=True)
def accumulate(kept, product):
    for k in range(kept.shape[0]):
        kept[k] += product[k]

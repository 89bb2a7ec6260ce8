"""The constants of the spectrum in whole numbers (templates/spectrum_fixed.c): factors of 30 bits, weights of 15."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from snn_asr.data.spectra import ENERGY_FLOOR, PREEMPHASIS
from snn_asr.export.c.tables import Table, table

ONE, WEIGHT_ONE = 1 << 30, 1 << 15  # of factors, and of the filters' weights
LOGARITHM_ONE, SEGMENTS = 1 << 22, 256  # of logarithms to base 2, and of the table's pieces between 1 and 2
LOGARITHM_UNIT = math.log(2) / LOGARITHM_ONE
SAMPLE_BITS = 27  # samples are so many powers of two larger than those from -1 to 1


def sizes(fft_size: int) -> dict[str, int]:
    """Whole numbers by their names in C. SCALE_BITS is by how many bits energies are larger than in floating point,
    without the shift of a window: powers have lost 16 bits, and weights have 15."""
    halvings = (fft_size // 2).bit_length() - 1
    return {
        "PREEMPHASIS": round(PREEMPHASIS * ONE), "SCALE_BITS": 2 * (SAMPLE_BITS - halvings) - 16 + 15,
        "LOWEST_LOGARITHM": round(math.log2(ENERGY_FLOOR) * LOGARITHM_ONE),
    }


def tables(reals: Iterable[tuple[str, np.ndarray, str]]) -> list[Table]:
    """The tables of numbers up to 1, and the table of logarithms."""
    made = []
    for name, values, comment in reals:
        kind, one = ("uint16_t", WEIGHT_ONE) if name == "mel_weights" else ("int32_t", ONE)
        made.append(table(kind, name, np.rint(values * one).astype(np.int64), f"{comment}, in units of 1 / {one}"))
    logarithms = np.log2(1 + np.arange(SEGMENTS + 1) / SEGMENTS)
    whole = np.rint(logarithms * LOGARITHM_ONE).astype(np.int64)
    return [*made, table("uint32_t", "logarithms", whole, f"to base 2, of 1 to 2, in units of 1 / {LOGARITHM_ONE}")]

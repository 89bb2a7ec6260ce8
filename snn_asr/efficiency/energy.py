"""An estimate of the energy that operations take, from published figures for single ones.

In a 45 nm process (Horowitz, ISSCC 2014) a multiplication takes 3.7 pJ and an addition 0.9 pJ in float32, 0.2 and
0.03 pJ in int8, which int4 weights are widened to. Memory traffic, which costs more on most hardware, features and
control are not in the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MULTIPLICATION_PICOJOULES = {"float32": 3.7, "int8": 0.2, "int4": 0.2}
ADDITION_PICOJOULES = {"float32": 0.9, "int8": 0.03, "int4": 0.03}


def energy_estimate(
    layers: Sequence[dict[str, Any]], element_wise: int, seconds: float, precision: str
) -> dict[str, float]:
    """Microjoules a second of audio: ``events`` for the operations that were done, and ``every_product`` for the same
    network with all products taken, zeros too, which are multiplications all.

    ``layers`` have the operations done and avoided a second, and whether they are additions ("AC") or multiplications
    with an addition ("MAC"), in weights of ``precision``; ``element_wise`` counts the float32 multiplications within
    units in all ``seconds``.
    """
    add = ADDITION_PICOJOULES[precision]
    both = add + MULTIPLICATION_PICOJOULES[precision]
    units = element_wise * MULTIPLICATION_PICOJOULES["float32"] / max(seconds, 1e-9)
    done = sum(each["done_per_second"] * (add if each["operation"] == "AC" else both) for each in layers)
    every = sum((each["done_per_second"] + each["avoided_per_second"]) * both for each in layers)
    return {"events": (done + units) / 1e6, "every_product": (every + units) / 1e6}

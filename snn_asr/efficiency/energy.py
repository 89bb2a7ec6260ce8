"""The estimated energy of a second's work: every constant with its source, and the calculation.

All constants are from M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, which gives
rough energy costs in a 45 nm process at 0.9 V: for single operations, and for 64 bits from a cache or from DRAM. There
is no figure for four bits. int4 weights are widened and cost what int8 weights do.

For a memory whose size lies between two published ones, the energy of an access is interpolated linearly in the square
root of the size, because wires are as long as a memory is wide (all published figures lie within a tenth of 3.3 pJ
times the root of the kilobytes). Beyond the largest size the line continues; no memory is cheaper than the smallest.
Weights lie in one memory that is just large enough for them, everything else in another. Reading and writing cost the
same, and all 64 bits of an access are used.

The estimate leaves out control and instructions, registers, clock, leakage, the wires between memories and units,
logistic functions and hyperbolic tangents, and the search for values that are not zero. It also ignores that a dense
network could fetch its weights once for several frames, where it does not have to answer at each frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from snn_asr.efficiency.model_work import feature_operations, network_shape
from snn_asr.efficiency.work import Work
from snn_asr.errors import UsageError
from snn_asr.network.integers import FLOAT32, INT4, INT8
from snn_asr.network.model import AcousticModel

MULTIPLICATION_PICOJOULES = {FLOAT32: 3.7, INT8: 0.2, INT4: 0.2}
ADDITION_PICOJOULES = {FLOAT32: 0.9, INT8: 0.1, INT4: 0.1}  # of whole numbers: the one of 32 bits
KILOBYTE, ACCESS_BYTES = 1024, 8
SRAM_PICOJOULES = {8 * KILOBYTE: 10.0, 32 * KILOBYTE: 20.0, 1024 * KILOBYTE: 100.0}  # by bytes of the cache
DRAM_PICOJOULES = (1300.0, 2600.0)  # the least and the most
DENSE_PRECISION = INT8  # of the dense network that spiking has to beat


@dataclass(frozen=True)
class Line:
    """One kind of work: its amount in a second of speech, in operations or bytes, and its energy."""

    per_second: float
    microjoules: float


@dataclass(frozen=True)
class Totals:
    """The energy of a second in all, in microjoules, by where weights and sums lie.

    With the weights in SRAM it is ``sram``, and ``one_by_one`` if besides every event is added to sums in memory on its
    own. With the weights in DRAM it is ``dram``: the least and the most.
    """

    sram: float
    one_by_one: float
    dram: list[float]


@dataclass(frozen=True)
class PricedWork:
    """The work of a second of speech with its energy: the sizes of both memories, each kind of work, and the totals."""

    weights_memory_bytes: float
    state_memory_bytes: float
    lines: dict[str, Line]
    microjoules: Totals

    @classmethod
    def of(cls, work: Work) -> PricedWork:
        """Return the work with its energy."""
        totals = Totals(in_sram(work), one_by_one(work), [in_dram(work, each) for each in DRAM_PICOJOULES])
        return cls(work.weights_memory_bytes, work.state_memory_bytes, lines(work), totals)


@dataclass(frozen=True)
class FeatureWork:
    """The work of computing the features of a second of speech in float32, without their memory."""

    multiplications: float
    additions: float
    microjoules: float


@dataclass(frozen=True)
class EnergyEstimate:
    """The energy of a second of speech, beside that of dense networks.

    ``events`` is the network as it runs, with weights in ``precision``. ``every_product`` is the same network with
    every product computed, and ``microjoules_dense`` a dense network in ``dense_precision``;
    ``microjoules_without_events`` is what the network takes if no event is sent. ``density`` is the share of events
    among all values that sources could send in lists, or None if nothing is sent in lists.

    ``break_even_density`` is the density at which the events cost as much as the dense network in ``dense_precision``,
    if all sources become denser in proportion; above 1 there is no such density. It is None without events in lists.
    The names in these dictionaries are those of PLACES.
    """

    precision: str
    events: PricedWork
    every_product: PricedWork
    microjoules_without_events: dict[str, float]
    density: float | None
    dense_precision: str
    microjoules_dense: dict[str, float]
    break_even_density: dict[str, float | None]
    features: FeatureWork


def access_picojoules(memory_bytes: float) -> float:
    """Return the energy to read or write 64 bits in an SRAM of ``memory_bytes``."""
    sizes = sorted(SRAM_PICOJOULES)
    index = sum(each < memory_bytes for each in sizes[1:-1])
    (near, low), (far, high) = ((math.sqrt(each), SRAM_PICOJOULES[each]) for each in sizes[index : index + 2])
    root = math.sqrt(max(memory_bytes, sizes[0]))
    return low + (high - low) * (root - near) / (far - near)


def lines(work: Work) -> dict[str, Line]:
    """Return each kind of work with its energy, if everything lies in SRAM."""
    multiplication, addition = (each[work.precision] for each in (MULTIPLICATION_PICOJOULES, ADDITION_PICOJOULES))
    memories = work.weights_memory_bytes, work.state_memory_bytes
    weights, states = (access_picojoules(each) / ACCESS_BYTES for each in memories)
    priced = {  # the operations or bytes of a second, and the picojoules of one
        "multiplications": (work.multiplications, multiplication),
        "additions": (work.additions, addition),
        "unit_multiplications": (work.unit_multiplications, MULTIPLICATION_PICOJOULES[FLOAT32]),
        "unit_additions": (work.unit_additions, ADDITION_PICOJOULES[FLOAT32]),
        "weights": (work.weights_bytes, weights),
        "constants": (work.constants_bytes, weights),
        "values": (work.values_bytes, states),
        "states": (work.states_bytes, states),
        "sums": (work.sums_bytes, states),
    }
    return {name: Line(amount, amount * each / 1e6) for name, (amount, each) in priced.items()}


def in_sram(work: Work) -> float:
    """Return microjoules a second if the weights lie in SRAM."""
    return sum(each.microjoules for each in lines(work).values())


def in_dram(work: Work, access: float = DRAM_PICOJOULES[0]) -> float:
    """Return microjoules a second if weights and constants lie in DRAM, at ``access`` picojoules for 64 bits."""
    rest = sum(each.microjoules for name, each in lines(work).items() if name not in ("weights", "constants"))
    return rest + (work.weights_bytes + work.constants_bytes) / ACCESS_BYTES * access / 1e6


def one_by_one(work: Work) -> float:
    """Return microjoules a second if the weights lie in SRAM, and every event is added to its sums in memory on its
    own."""
    return in_sram(work) + work.listed_sums_bytes * access_picojoules(work.state_memory_bytes) / ACCESS_BYTES / 1e6


PLACES = {"sram": in_sram, "one_by_one": one_by_one, "dram": in_dram}


def energy_estimate(
    model: AcousticModel, precision: str, sent: Sequence[float], frames: int, seconds: float
) -> EnergyEstimate | None:
    """Return the energy for a second of audio, or None for a model that ``require_estimate`` refuses.

    ``sent`` holds how many events the features and each layer sent in all ``frames``, which took so many ``seconds``.
    """
    if model.front_end is not None:
        return None
    shape, rate = network_shape(model, precision), frames / max(seconds, 1e-9)
    events = [each / max(frames, 1) for each in sent]
    taken, dense = shape.work(events, rate), shape.every_product(rate, DENSE_PRECISION)
    floor, listed = shape.work(shape.without_lists(events), rate), shape.listed_events(events)
    density = listed / shape.listed_units if shape.listed_units else None
    break_even: dict[str, float | None] = {}
    for name, price in PLACES.items():
        saved, spent = price(dense) - price(floor), price(taken) - price(floor)
        break_even[name] = density * saved / spent if density else None
    multiplications, additions = feature_operations(model.settings.features)
    own = multiplications * MULTIPLICATION_PICOJOULES[FLOAT32] + additions * ADDITION_PICOJOULES[FLOAT32]
    return EnergyEstimate(
        precision=precision,
        events=PricedWork.of(taken),
        every_product=PricedWork.of(shape.every_product(rate)),
        microjoules_without_events={name: price(floor) for name, price in PLACES.items()},
        density=density,
        dense_precision=DENSE_PRECISION,
        microjoules_dense={name: price(dense) for name, price in PLACES.items()},
        break_even_density=break_even,
        features=FeatureWork(multiplications, additions, own / 1e6),
    )


def require_estimate(model: AcousticModel) -> None:
    """Raise UsageError for a model with a convolutional front end, whose work the estimate does not count."""
    if model.front_end is not None:
        what = "the estimate of energy knows no convolutions, which the front end of this model has"
        raise UsageError(what, "--energy", "leave it out, or train a model with front_end=none")

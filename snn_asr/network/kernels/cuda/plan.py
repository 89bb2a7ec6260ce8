"""The layout of a layer on clusters of CTAs: how many CTAs, how many units each of them has, and where its weights lie.

A cluster takes 8 rows of the batch, and each of its CTAs takes UNITS units, a multiple of 8. The weights of a CTA are
operands of the tensor cores: 16 × 16 numbers each, 512 bytes for a warp, which is called a slot. As many slots as
possible stay in registers, others in shared memory, and the rest in global memory, from where they are read again at
every frame through the L2 cache. In small clusters each CTA has more weights to hold, but more clusters run at the same
time. Which is faster depends on the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

ROWS = 8
SHARED = 227 * 1024  # bytes that a CTA may have on Hopper
REGISTERS = 65536  # of an SM, for the one CTA that it runs
SMALLEST_CLUSTER = 2  # of one CTA there are none
LARGEST_CLUSTER = 16  # 8 are portable; Hopper runs 16 where it is asked to
SLOT = 512
FEWEST_WARPS = 12
SHARED_BANDWIDTH, GLOBAL_BANDWIDTH = 200_000, 25_000  # bytes that a CTA reads in a microsecond
MOST_SPILLED = 256 * 1024  # bytes of a CTA
# Registers of a thread besides the slots, and for each further item of a thread.
RESERVED = {"forward": (60, 16), "backward": (70, 24)}


@dataclass(frozen=True)
class Plan:
    """The constants that a walk is compiled with (cluster.cuh), and its shared memory in bytes."""

    way: str  # forward or backward
    size: int
    gates: int
    parts: int
    cluster: int
    units: int
    warps: int
    held: int
    kept: int  # slots in shared memory
    shared: int
    spread_m: int = 1
    spread_k: int = 1
    groups: int = 1

    @property
    def definitions(self) -> dict[str, int]:
        return {name.upper(): each for name, each in asdict(self).items() if name not in ("way", "gates")}

    @property
    def slots(self) -> int:
        """The number of operands (16 × 16 weights each) of a warp."""
        if self.way == "forward":
            return self.spread_m * self.spread_k * self.parts
        depth, tiles = _up(self.gates * self.units, 16), _up(self.cluster * self.units, 16)
        return _up(tiles, self.warps) * depth * self.parts

    @property
    def spilled(self) -> int:
        """The bytes of a cluster's weights that lie in global memory."""
        return (self.slots - self.held - self.kept) * self.warps * SLOT * self.cluster

    def microseconds(self, rows: int, processors: int) -> float:
        """The estimated time of a frame, fitted to an H200. It is only good for choosing between layouts."""
        products = _up(self.warps, 4) * 4 * self.slots  # of a CTA and frame, its four tensor cores equally busy
        each = 0.8 + 0.0018 * products
        if self.way == "backward":
            each = 1.3 + 0.0023 * products * (2 * self.parts - 1) / self.parts
        each += self.kept * self.warps * SLOT / SHARED_BANDWIDTH + self.spilled / self.cluster / GLOBAL_BANDWIDTH
        return _up(_up(rows, ROWS), resident(self.cluster, processors)) * each


def resident(cluster: int, processors: int) -> int:
    """The number of clusters that run at the same time.

    A cluster lies within one of the chip's groups of 16 or 18 multiprocessors, and the last group lacks some.
    """
    groups = max(1, processors // 18)
    if cluster == 9:
        return groups + groups // 2
    return groups * (16 // cluster)


def _up(count: int, each: int) -> int:
    return -(-count // each)


def _aligned(count: int) -> int:
    return _up(count, 128) * 128


def best(way: str, size: int, gates: int, parts: int, rows: int, processors: int) -> Plan | None:
    """The layout that should be fastest for so many rows, or None if the weights do not fit in any layout."""
    make = _forward if way == "forward" else _backward
    units = {_up(_up(size, cluster), 8) * 8 for cluster in range(1, LARGEST_CLUSTER + 1)}
    found = [plan for each in units for plan in make(size, gates, parts, each)]
    return min(found, key=lambda plan: (plan.microseconds(rows, processors), plan.shared), default=None)


def _held(way: str, slots: int, warps: int, units: int) -> int:
    base, further = RESERVED[way]
    registers = min(255, REGISTERS // (128 * _up(warps, 4)) // 8 * 8)  # given out to four warps at a time
    return max(1, min(slots, (registers - base - further * (_up(ROWS * units, 32 * warps) - 1)) // 4))


def _placed(base: int, slots: int, held: int, warps: int) -> tuple[int, int] | None:
    """The number of slots in shared memory, and all bytes of it; None if too many slots are left over."""
    kept = min(slots - held, (SHARED - base) // (warps * SLOT))
    if held < 1 or kept < 0 or (slots - held - kept) * warps * SLOT > MOST_SPILLED:
        return None
    return kept, base + kept * warps * SLOT


def _forward(size: int, gates: int, parts: int, units: int) -> Iterator[Plan]:
    """Every way to spread the products over warps: by tiles of rows of the gates, and by inputs that groups of warps
    share.
    """
    tiles, cluster = _up(gates * units, 16), max(SMALLEST_CLUSTER, _up(size, units))
    for spread_m in range(1, min(tiles, 4) + 1):
        across = _up(tiles, spread_m)
        if across > 16:
            continue
        groups = 16 // across
        spread_k = _up(_up(_up(size, 16), groups), 2) * 2
        groups, slots = _up(_up(size, 16), spread_k), spread_m * spread_k * parts
        warps = max(across * groups, FEWEST_WARPS)
        held = _held("forward", slots, warps, units) - 2 * (spread_m - 1)
        blocks = max(_up(groups * spread_k * 2, units // 8), cluster)
        block, pitch = ROWS * units, tiles * 16 + 4
        base = 128 + _aligned(2 * blocks * block) + _aligned(block) + _aligned(groups * ROWS * pitch * 4)
        placed = _placed(base, slots, held, warps)
        if placed:
            yield Plan("forward", size, gates, parts, cluster, units, warps, held, *placed, spread_m, spread_k, groups)


def _backward(size: int, gates: int, parts: int, units: int) -> Iterator[Plan]:
    depth, cluster = _up(gates * units, 16), max(SMALLEST_CLUSTER, _up(size, units))
    tiles = _up(cluster * units, 16)
    for warps in {max(FEWEST_WARPS, _up(tiles, each)) for each in range(1, 6) if _up(tiles, each) <= 16}:
        slots = _up(tiles, warps) * depth * parts
        held = _held("backward", slots, warps, units)
        pitch, each = depth * 8 + (0 if depth % 2 else 8), 4 if parts == 2 else 2
        base = 128 + _aligned(2 * cluster * ROWS * units * each) + _aligned(2 * parts * ROWS * pitch * 4)
        placed = _placed(base, slots, held, warps)
        if placed:
            yield Plan("backward", size, gates, parts, cluster, units, warps, held, *placed)

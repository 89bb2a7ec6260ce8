"""Parts that several kernels share: a program's tile, recurrent products, gates, and the coder.

Everything that differs from call to call comes in a table of 64-bit integers in device memory, so that a captured
launch serves every batch. The table has the number of rows, the number of frames, the addresses of the lengths (B,) and
of the largest length in each tile of rows, and then the addresses of the cell's own tensors (0 for none).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def at(table, entry: tl.constexpr, kind: tl.constexpr):
    """A pointer to the tensor, of type ``kind``, whose address is in an entry of the table."""
    return tl.load(table + entry).to(tl.pointer_type(kind))


@triton.jit
def tile(table, ROWS: tl.constexpr, UNITS: tl.constexpr):
    """The tile of a program: its rows (ROWS, 1), its units (1, UNITS), the lengths (ROWS, 1) of the rows (0 for rows
    that do not exist), the number of frames, and the largest length in the tile."""
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    units = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    lengths = tl.load(at(table, 2, tl.int64) + rows, mask=rows < tl.load(table), other=0)
    longest = tl.load(at(table, 3, tl.int64) + tl.program_id(1))
    return rows.to(tl.int64)[:, None], units[None, :], lengths[:, None], tl.load(table + 1), longest


@triton.jit
def product(
    inputs, alive, weights, WIDTH: tl.constexpr, PITCH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr, STATE: tl.constexpr, PRODUCT: tl.constexpr,
):
    """The product of the rows of WIDTH numbers at ``inputs`` (ROWS, 1) with this program's COLUMNS of packed
    ``weights``, whose rows are PITCH numbers apart."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.full((ROWS, COLUMNS), 0.0, STATE)
    for start in range(0, WIDTH, DEPTH):
        depth = start + tl.arange(0, DEPTH)
        sent = tl.load(inputs + depth[None, :], mask=alive & (depth < WIDTH)[None, :], other=0.0)
        given = tl.load(weights + depth[:, None] * PITCH + columns[None, :])
        total = tl.dot(sent.to(PRODUCT), given, total, input_precision="ieee", out_dtype=STATE)
    return total


@triton.jit
def sigmoid(x):
    """σ, exactly 0, 1/2 and 1 at -∞, 0 and ∞ (and wherever float32 cannot tell the difference)."""
    denominator = 1.0 + tl.exp(-x)
    if x.dtype == tl.float32:
        result = tl.div_rn(1.0, denominator)  # a plain division of float32 is only nearly right
    else:
        result = 1.0 / denominator
    return result


@triton.jit
def coder_of(numbers):
    """The range, scale, unit and threshold of a Coder, which are the first four ``numbers``."""
    return tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2), tl.load(numbers + 3)


@triton.jit
def send(membrane, coder):
    """The output of a coder for a membrane; ``coder`` are the numbers of ``coder_of``."""
    scaled = tl.minimum(tl.maximum(membrane, -coder[0]), coder[0]) * coder[1]
    level = tl.where(scaled < 0, tl.ceil(scaled), tl.floor(scaled))
    return tl.where(tl.abs(level) <= coder[3], 0.0, level * coder[2])


@triton.jit
def emit(current, membrane, output, coder, SPIKING: tl.constexpr):
    """The membrane and the output of a frame, from its current and from both of the frame before. Without a coder both
    are the current."""
    if SPIKING:
        membrane = (membrane - output) + current
        output = send(membrane, coder)
    else:
        membrane, output = current, current
    return membrane, output


@triton.jit
def receive(gradient, membrane, to_membrane, limit):
    """The gradient of the membrane, from that of the output and that of the membrane at the next frame."""
    return tl.where(tl.abs(membrane) <= limit, gradient, to_membrane)


@triton.jit
def row_of(lengths, SIZE: tl.constexpr, UNITS: tl.constexpr):
    """The part of a scan that a program has: its row, its UNITS units, which of them exist, and the length of the
    row."""
    row, units = tl.program_id(1).to(tl.int64), tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    return row, units, units < SIZE, tl.load(lengths + row)


@triton.jit
def mask_of(mask, place, here, like, MASKED: tl.constexpr):
    """The dropout mask at a program's units. Without a mask the result is never read."""
    if MASKED:
        like = tl.load(mask + place, mask=here, other=0.0)
    return like


@triton.jit
def keep(pointers, value, n, length, frames, here, PITCH: tl.constexpr):
    """Store a frame's value, and zero beyond the row's length."""
    tl.store(pointers + n * PITCH, tl.where(n < length, value, 0.0), mask=here & (n >= 0) & (n < frames))


@triton.jit
def states_before(currents, membranes, outputs, place, here):
    """Current, membrane and output before the first frame of a scan."""
    current = tl.load(currents + place, mask=here, other=0.0)
    membrane = tl.load(membranes + place, mask=here, other=0.0)
    return current, membrane, tl.load(outputs + place, mask=here, other=0.0)


@triton.jit
def keep_states(
    currents, membranes, outputs, current, membrane, output, place, n, length, frames, here, SIZE: tl.constexpr
):
    """``keep`` of a frame's current, membrane and output."""
    keep(currents + place, current, n, length, frames, here, SIZE)
    keep(membranes + place, membrane, n, length, frames, here, SIZE)
    keep(outputs + place, output, n, length, frames, here, SIZE)


@triton.jit
def frames_ahead(
    pointers, first, STEP: tl.constexpr, length, here, PITCH: tl.constexpr, GROUP: tl.constexpr,
    LOWEST: tl.constexpr = 0,
):
    """The values at GROUP frames ``first``, ``first`` + STEP and so on, as a tuple; 0 beyond the length or below
    LOWEST.

    Frames are PITCH numbers apart. All loads have been started before the first one is waited for; a loop that loads
    one frame after another would spend its time waiting for memory.
    """
    found = ()
    for i in tl.static_range(GROUP):
        n = first + i * STEP
        alive = here & (n < length) & (n >= LOWEST)
        found = found + (tl.load(pointers + n * PITCH, mask=alive, other=0.0),)  # type: ignore[assignment]
    return found

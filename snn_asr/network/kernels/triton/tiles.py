"""Parts of the kernels: a program's tile, recurrent products, gates, coder.

What differs from call to call comes in a table of 64-bit integers in device memory, so that a captured launch serves
every batch: the batch, its frames, the addresses of lengths (B,) and of the largest length of each tile of rows, then
the addresses of the cell's own tensors (0: none).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def at(table, entry: tl.constexpr, kind: tl.constexpr):
    """Pointer to the tensor of ``kind`` in an entry of the table."""
    return tl.load(table + entry).to(tl.pointer_type(kind))


@triton.jit
def tile(table, ROWS: tl.constexpr, UNITS: tl.constexpr):
    """Rows (ROWS, 1), units (1, UNITS), lengths (ROWS, 1) of the rows (0: no such row), number of frames, largest
    length of the tile."""
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
    """Rows of WIDTH numbers at ``inputs`` (ROWS, 1) times this program's COLUMNS of packed ``weights``, PITCH a row."""
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
    """Exactly 0, 1/2 and 1 at -∞, 0 and ∞ (and wherever float32 cannot tell the difference)."""
    denominator = 1.0 + tl.exp(-x)
    if x.dtype == tl.float32:
        result = tl.div_rn(1.0, denominator)  # a plain division of float32 is only nearly right
    else:
        result = 1.0 / denominator
    return result


@triton.jit
def coder_of(numbers):
    """Range, scale, unit and threshold of coder.Coder, the first four ``numbers``."""
    return tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2), tl.load(numbers + 3)


@triton.jit
def send(membrane, coder):
    """What coder.Coder sends of a membrane; ``coder`` from ``coder_of``."""
    scaled = tl.minimum(tl.maximum(membrane, -coder[0]), coder[0]) * coder[1]
    level = tl.where(scaled < 0, tl.ceil(scaled), tl.floor(scaled))
    return tl.where(tl.abs(level) <= coder[3], 0.0, level * coder[2])


@triton.jit
def emit(current, membrane, output, coder, SPIKING: tl.constexpr):
    """Membrane and output of a frame, from its current and those of the frame before; without a coder all three are the
    current."""
    if SPIKING:
        membrane = (membrane - output) + current
        output = send(membrane, coder)
    else:
        membrane, output = current, current
    return membrane, output


@triton.jit
def receive(gradient, membrane, to_membrane, limit):
    """The gradient of the membrane, from that of the outputs and that of the membrane one frame later."""
    return tl.where(tl.abs(membrane) <= limit, gradient, to_membrane)


@triton.jit
def row_of(lengths, SIZE: tl.constexpr, UNITS: tl.constexpr):
    """Of a scan, whose programs own one row and UNITS units: the row, the units, which of them there are, and the
    row's length."""
    row, units = tl.program_id(1).to(tl.int64), tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    return row, units, units < SIZE, tl.load(lengths + row)


@triton.jit
def mask_of(mask, place, here, like, MASKED: tl.constexpr):
    """The dropout mask at a program's units; without one, what is never read."""
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
    """A tuple of what lies at the frames ``first``, ``first`` + STEP and so on, GROUP of them, 0 beyond the length or
    below LOWEST; frames are PITCH apart. All loads are under way before the first is waited for: a loop over frames
    that loads as it goes spends its time waiting for memory."""
    found = ()
    for i in tl.static_range(GROUP):
        n = first + i * STEP
        alive = here & (n < length) & (n >= LOWEST)
        found = found + (tl.load(pointers + n * PITCH, mask=alive, other=0.0),)  # type: ignore[assignment]
    return found

"""One step of every cell in ONNX operators: the equations of network/cells, line by line.

Each function takes the graph, the layer's name, its drive with the recurrent product (of GRUs: without it), that
product, the layer's parts and its number of units. It keeps the layer's states and returns the layer's output.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from snn_asr.events.cells import CELLS
from snn_asr.export.onnx_graph import Graph
from snn_asr.network.layers.base import LayerParts

Step = Callable[[Graph, str, str, str | None, LayerParts, int], str]


def gated(graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int) -> str:
    """I = F I + (1 - F) C, Y = Q(V)"""
    forget, candidate = graph.op("Sigmoid", graph.gate(drive, 0, size)), graph.gate(drive, 1, size)
    if part.highest < math.inf:
        candidate = graph.op("Clip", candidate, graph.constant(0.0), graph.constant(part.highest))
    else:
        candidate = graph.op("Relu", candidate)
    kept = graph.op("Mul", forget, graph.state(f"{name}.current", size))
    admitted = graph.op("Mul", graph.op("Sub", graph.constant(1.0), forget), candidate)
    return _sent(graph, name, graph.op("Add", kept, admitted), part, size)


def conventional(graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int) -> str:
    """I = τ I + D, Y = Q(V)"""
    decay = graph.constant(part.neurons["decay"].numpy())
    kept = graph.op("Mul", decay, graph.state(f"{name}.current", size))
    return _sent(graph, name, graph.op("Add", kept, drive), part, size)


def _sent(graph: Graph, name: str, current: str, part: LayerParts, size: int) -> str:
    """The output of the coder for a current, or the current itself without a coder."""
    current = graph.keep(f"{name}.current", current)
    if part.coder is not None:
        return graph.send(name, current, part.coder, size)
    return graph.keep(graph.state(f"{name}.output", size), current) if part.recurrent is not None else current


def leaky_integrate_and_fire(
    graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int
) -> str:
    """w = β w + a u + b s, u = α (u - s) + (1 - α) (D - w), s = 1[u > 1]"""
    output, potential = graph.state(f"{name}.output", size), graph.state(f"{name}.potential", size)
    if part.adaptive:
        adaptation, names = graph.state(f"{name}.adaptation", size), ("adaptation_decay", "coupling", "jump")
        decay, coupling, jump = (graph.constant(part.neurons[each].numpy()) for each in names)
        held = graph.op("Add", graph.op("Mul", decay, adaptation), graph.op("Mul", coupling, potential))
        adaptation = graph.keep(adaptation, graph.op("Add", held, graph.op("Mul", jump, output)))
        drive = graph.op("Sub", drive, adaptation)
    return _fired(graph, name, graph.op("Sub", potential, output), drive, part, size)


def hard_reset(graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int) -> str:
    """u = α u (1 - s) + (1 - α) D, s = 1[u > 1]"""
    output, potential = graph.state(f"{name}.output", size), graph.state(f"{name}.potential", size)
    kept = graph.op("Mul", potential, graph.op("Sub", graph.constant(1.0), output))
    return _fired(graph, name, kept, drive, part, size)


def _fired(graph: Graph, name: str, kept: str, drive: str, part: LayerParts, size: int) -> str:
    """u = α kept + (1 - α) D, s = 1[u > 1]"""
    output, potential = graph.state(f"{name}.output", size), graph.state(f"{name}.potential", size)
    own = part.neurons["decay"]
    decay, given = (graph.constant(each.numpy()) for each in (own, 1 - own))
    held = graph.op("Mul", decay, kept)
    potential = graph.keep(potential, graph.op("Add", held, graph.op("Mul", given, drive)))
    return graph.keep(output, graph.above(potential, 1.0))


def spiking_lstm(graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int) -> str:
    """c = f c + i g, thresholded or kept; h = o c; all gates are 0 or 1"""
    assert part.threshold is not None
    threshold = part.threshold
    forget, admit, emit, candidate = (graph.above(graph.gate(drive, place, size), threshold) for place in range(4))
    cell = graph.state(f"{name}.cell", size)
    value = graph.op("Add", graph.op("Mul", forget, cell), graph.op("Mul", admit, candidate))
    value = graph.keep(cell, value if part.kept else graph.above(value, threshold))
    return graph.keep(f"{name}.output", graph.op("Mul", emit, value))


def gru(graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int) -> str:
    """h = (1 - z) n + z h, n = tanh(D_n + r (U_n h + b)), or tanh(D_n + U_n (r h)) where the reset comes first"""
    assert recurrent is not None and part.recurrent is not None
    own, places = _gates(graph, drive, part, size), CELLS[part.cell].gates
    before = graph.state(f"{name}.output" if part.change is None else f"{name}.hidden", size)
    reset, update = (
        graph.op("Sigmoid", graph.op("Add", own[gate], graph.gate(recurrent, places.index(gate), size)))
        for gate in ("reset", "update")
    )
    if CELLS[part.cell].resets_first:
        weight = part.recurrent[places.index("candidate") * size :]
        heard = graph.product(graph.op("Mul", reset, before), weight.numpy())
    else:
        heard = graph.gate(recurrent, places.index("candidate"), size)
        if "bias" in part.neurons:
            heard = graph.op("Add", heard, graph.constant(part.neurons["bias"].numpy()))
        heard = graph.op("Mul", reset, heard)
    new = graph.op("Tanh", graph.op("Add", own["candidate"], heard))
    moved = graph.op("Mul", update, graph.op("Sub", before, new))
    value = graph.keep(before, graph.op("Add", new, moved))
    return value if part.change is None else graph.hold(graph.state(f"{name}.output", size), value, part.change)


def lstm(graph: Graph, name: str, drive: str, recurrent: str | None, part: LayerParts, size: int) -> str:
    """c = f c + i g, h = o tanh(c)"""
    own = _gates(graph, drive, part, size)
    admit, forget, emit = (graph.op("Sigmoid", own[gate]) for gate in ("admit", "forget", "emit"))
    candidate, cell = graph.op("Tanh", own["candidate"]), graph.state(f"{name}.cell", size)
    value = graph.op("Add", graph.op("Mul", forget, cell), graph.op("Mul", admit, candidate))
    value = graph.keep(cell, value)
    return graph.keep(f"{name}.output", graph.op("Mul", emit, graph.op("Tanh", value)))


def _gates(graph: Graph, drive: str, part: LayerParts, size: int) -> dict[str, str]:
    """The blocks of a drive by their names."""
    return {gate: graph.gate(drive, place, size) for place, gate in enumerate(CELLS[part.cell].gates)}


STEPS: dict[str, Step] = {
    **{each.__name__: each for each in (gated, conventional, leaky_integrate_and_fire, hard_reset, spiking_lstm)},
    "gru": gru, "bn_gru": gru, "delta_gru": gru, "lstm": lstm, "bn_lstm": lstm,
}

"""The event engine: a trained network frame by frame, in work that follows the events it sends.

    network = event_network(model, "int8")          shared by any number of streams and threads: nothing writes to it
    state = network.initial_state()                 one a stream
    logits = network.run(inputs, state)             (T, D) frames of encoder input to (T, N), the state moves on

Cells that have a compiled form run in it (compiled.py); any other cell is walked by its own ``step`` (walked.py).
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np

from snn_asr.errors import unknown_name
from snn_asr.events.compiled import CELLS, CompiledNetwork
from snn_asr.events.parts import Source, causal_layers
from snn_asr.events.walked import WalkedNetwork
from snn_asr.network.integers import INT4, INT8
from snn_asr.network.model import AcousticModel

PRECISIONS = ("float32", INT8, INT4)


class StreamState(Protocol):
    """What one stream remembers between frames. ``sent`` (L + 1,) counts the events so far, of the features and of each
    of L layers."""

    sent: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory of this stream alone, in bytes."""
        ...

    def reset(self) -> None:
        """Go back to the zero state; the counts of events go on."""
        ...


class EventNetwork(Protocol):
    """What all streams of a model share: its weights, and how they are walked."""

    @property
    def precision(self) -> str:
        """Of the weights: float32, int8 or int4."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of all weights, in bytes."""
        ...

    @property
    def sources(self) -> list[Source]:
        """What sends events: the features and the layers, in their order."""
        ...

    def initial_state(self) -> StreamState:
        """The zero state of a new stream."""
        ...

    def run(self, inputs: np.ndarray, state: Any) -> np.ndarray:
        """inputs (T, D) float32, contiguous, to logits (T, N); the state of ``initial_state``, moves on by T frames."""
        ...


def event_network(model: AcousticModel, precision: str = "float32", every: bool = False) -> EventNetwork:
    """The network of a model in evaluation mode, its weights in float32, int8 or int4 (which take a byte each here,
    too). ``every`` takes all products, with zeros too: the dense engine, to compare with.

    Raises UsageError for an unknown precision, for one that a quantised model does not have, and for a bidirectional
    encoder.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    cells = {each.parts().cell for each in causal_layers(model.encoder)}
    if cells <= CELLS.keys():
        return CompiledNetwork.of(model, precision, every)
    logging.getLogger(__name__).warning(
        "the event engine has no compiled form of %s: it walks the cell's own step, which is slow",
        ", ".join(sorted(cells - CELLS.keys())),
    )
    return WalkedNetwork.of(model, precision, every)

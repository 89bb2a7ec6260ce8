"""The event engine: it runs a trained network frame by frame, with work that grows with the number of events.

    network = event_network(model, "int8")          read-only: any number of streams and threads may share it
    state = network.initial_state()                 one for each stream
    logits = network.run(inputs, state)             (T, N) from encoder inputs (T, D); the state moves on by T frames

A cell that has a compiled form runs in it (compiled.py); any other cell runs by its own ``step`` (walked.py).
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np

from snn_asr.errors import unknown_name
from snn_asr.events.cells import CELLS
from snn_asr.events.compiled import CompiledNetwork
from snn_asr.events.sources import SourceSize, causal_layers
from snn_asr.events.walked import WalkedNetwork
from snn_asr.network.integers import FLOAT32, WEIGHT_PRECISIONS
from snn_asr.network.model import AcousticModel


class StreamState(Protocol):
    """The state of one stream. ``sent`` (L + 1,) counts the events so far, of the features and of each of L layers."""

    sent: np.ndarray

    @property
    def nbytes(self) -> int:
        """The size of this stream's own memory in bytes."""
        ...

    def reset(self) -> None:
        """Go back to the zero state, without resetting the counts of events."""
        ...


class EventNetwork(Protocol):
    """The weights of a model, which all of its streams share, and how they are run."""

    @property
    def precision(self) -> str:
        """The type of the weights: float32, int8 or int4."""
        ...

    @property
    def nbytes(self) -> int:
        """The size of all weights in bytes."""
        ...

    @property
    def sources(self) -> list[SourceSize]:
        """The sources of events in their order: the features, and then the layers."""
        ...

    def initial_state(self) -> StreamState:
        """The zero state of a new stream."""
        ...

    def run(self, inputs: np.ndarray, state: Any) -> np.ndarray:
        """The logits (T, N) of contiguous float32 inputs (T, D). The state (from ``initial_state``) moves on by T
        frames."""
        ...


def event_network(model: AcousticModel, precision: str = FLOAT32, every: bool = False) -> EventNetwork:
    """The network of a model in evaluation mode, with weights in float32, int8 or int4 (which also take a byte each).

    With ``every`` all products are taken, including those with zeros: this is the dense engine, for comparison.

    Raises UsageError for an unknown precision, for one that a quantised model does not have, and for a bidirectional
    encoder.
    """
    if precision not in WEIGHT_PRECISIONS:
        raise unknown_name("precision", precision, WEIGHT_PRECISIONS)
    cells = {each.parts().cell for each in causal_layers(model.encoder)}
    if cells <= CELLS.keys():
        return CompiledNetwork.of(model, precision, every)
    logging.getLogger(__name__).warning(
        "the event engine has no compiled form of %s: it walks the cell's own step, which is slow",
        ", ".join(sorted(cells - CELLS.keys())),
    )
    return WalkedNetwork.of(model, precision, every)

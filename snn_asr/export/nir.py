"""A model as a graph of the Neuromorphic Intermediate Representation (NIR 1.0, Pedersen et al. 2024): network.nir.

NIR has leaky integrate-and-fire neurons with a hard reset, so only hard_rlif can be exported. Each layer becomes an
Affine node (with batch normalisation, gain and, in the first layer, the normalisation of the features folded in), a LIF
node and, with recurrent weights, a Linear node in a cycle with it. The graph is flat, with r = 1, v_leak = v_reset = 0,
threshold 1 and tau = dt / (1 - α), which readers of the format represent exactly.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snn_asr.errors import UsageError
from snn_asr.events.sources import layers_of
from snn_asr.export.network import exportable_sources
from snn_asr.export.origin import MARK, exporting
from snn_asr.files import write_bytes
from snn_asr.network.cells.hard_reset import THRESHOLD
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import LoadedModel

NETWORK = "network.nir"
CELLS = frozenset(["hard_reset"])
# Why NIR cannot express the other cells.
REASONS = {
    "gated": "gates and graded spikes", "conventional": "graded spikes", "spiking_lstm": "gates", "gru": "gates",
    "lstm": "gates", "bn_gru": "gates", "bn_lstm": "gates", "delta_gru": "gates",
    "leaky_integrate_and_fire": "reset that subtracts, and no adaptation; train encoder=hard_rlif",
}


@torch.no_grad()
def export_nir(loaded: LoadedModel, folder: str | Path) -> str:
    """Write network.nir and return its name.

    Raises UsageError, with the reason, for a model that NIR cannot express, and if the package nir is missing. Raises
    DataError if the folder cannot be written or has such a file that was not exported.
    """
    try:
        import nir
    except ImportError as error:
        raise UsageError("the package nir is not installed", "--format nir", "pip install 'snn-asr[nir]'") from error
    folder, graph = Path(folder), graph_of(loaded.model, nir)
    with exporting(folder, (NETWORK,)), TemporaryDirectory() as elsewhere:
        nir.write(str(Path(elsewhere) / NETWORK), graph)  # HDF5 wants a file that nobody else has locked
        write_bytes(folder / NETWORK, (Path(elsewhere) / NETWORK).read_bytes())
    return NETWORK


def graph_of(model: AcousticModel, nir: Any) -> Any:
    """The nir.NIRGraph from stacked features, not normalised, to logits. Metadata of LIF nodes have dt in seconds."""
    encoder, settings = model.encoder, model.settings
    reason = REASONS.get(encoder.layers[0].parts().cell) if not encoder.options["bidirectional"] else None
    if reason is not None:
        raise UsageError(f"NIR has no {reason}", f"encoder {settings.encoder}")
    sources = exportable_sources(model, CELLS, "NIR")
    if encoder.input_coder is not None or encoder.smoothed:
        raise UsageError("NIR export has no coded input and no integrators", "encoder", "train with smoothing=0")
    dt = settings.features.stacked_seconds
    size = settings.features.stacked_size
    nodes = {"input": nir.Input({"input": np.array([size])})}
    edges, before = [], "input"
    for place, (below, layer) in enumerate(zip(sources, layers_of(sources), strict=False), start=1):
        name = f"layer{place}"
        weight, bias = (each.numpy() for each in below.affine)
        if place == 1:
            weight, bias = _with_normalization(model, weight, bias)
        nodes[f"{name}.input"] = nir.Affine(weight, bias)
        nodes[name] = _neurons(nir, layer.neurons["decay"], dt)
        edges += [(before, f"{name}.input"), (f"{name}.input", name)]
        if layer.recurrent is not None:
            nodes[f"{name}.recurrent"] = nir.Linear(layer.recurrent.numpy())
            edges += [(name, f"{name}.recurrent"), (f"{name}.recurrent", name)]
        before = name
    head, offset = sources[-1].affine
    nodes["head"] = nir.Affine(head.numpy(), offset.numpy())
    nodes["output"] = nir.Output({"output": np.array([len(head)])})
    return nir.NIRGraph(nodes, [*edges, (before, "head"), ("head", "output")], metadata={"producer": MARK})


def _with_normalization(model: AcousticModel, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weight and bias for features that are not normalised."""
    stack = model.settings.features.stack
    given = model.normalization
    mean, deviation = (np.tile(each.numpy(), stack) for each in (given.mean, given.deviation))
    weight = weight / deviation
    return weight, bias - weight @ mean


def _neurons(nir: Any, decay: Tensor, dt: float) -> Any:
    rest, ones = np.zeros(len(decay), np.float32), np.ones(len(decay), np.float32)
    tau = (dt / (1 - decay)).numpy()
    return nir.LIF(tau=tau, r=ones, v_leak=rest, v_threshold=THRESHOLD * ones, v_reset=rest, metadata={"dt": dt})

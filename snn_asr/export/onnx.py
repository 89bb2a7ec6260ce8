"""A model as ONNX graphs of standard operators: one step of the network, and the same over a whole sequence (Scan).

    step.onnx       features (B, D) of one input and the states to logits (B, N) and the states after it
    sequence.onnx   features (T, B, D) and the states to logits (T, B, N) and the states after them

Features are as the extractor gives them, stacked: their normalisation is in the graph, and batch normalisation in the
weights. States have the names of the cells' files and start at zero; ``NAME.next`` is the state after the step. The
metadata have everything else that is needed: ``features``, ``tokens``, ``labels``, ``task`` and ``step_seconds``.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snn_asr import __version__
from snn_asr.errors import UsageError
from snn_asr.events.cells import CELLS
from snn_asr.events.sources import Source
from snn_asr.export.network import exportable_sources, input_coder_of
from snn_asr.export.onnx_cells import STEPS
from snn_asr.export.onnx_graph import Graph
from snn_asr.export.origin import PRODUCER, exporting
from snn_asr.files import write_together
from snn_asr.network.model import AcousticModel
from snn_asr.network.model_folder import LoadedModel

STEP, SEQUENCE = "step.onnx", "sequence.onnx"
OPSET, IR_VERSION = 17, 9


@torch.no_grad()
def export_onnx(loaded: LoadedModel, folder: str | Path) -> list[str]:
    """Write both graphs and return the names of their files.

    Raises UsageError for a model that cannot be exported, and if the package onnx is missing. Raises DataError if the
    folder cannot be written or has such a file that was not exported.
    """
    try:
        import onnx
    except ImportError as error:
        raise UsageError("the package onnx is not installed", "--format onnx", "pip install 'snn-asr[onnx]'") from error
    folder, graph = Path(folder), step_graph(loaded.model)
    whole = {STEP: graph.whole(onnx.helper), SEQUENCE: graph.scanned(onnx.helper)}
    contents = {}
    for name, each in whole.items():
        opsets = [onnx.helper.make_opsetid("", OPSET)]
        made = onnx.helper.make_model(
            each, opset_imports=opsets, ir_version=IR_VERSION, producer_name=PRODUCER, producer_version=__version__
        )
        onnx.helper.set_model_props(made, metadata(loaded))
        onnx.checker.check_model(made)
        contents[name] = made.SerializeToString()
    with exporting(folder, contents, PRODUCER, within=100):  # the name of the producer comes second
        write_together(folder, contents)
    return list(whole)


def metadata(loaded: LoadedModel) -> dict[str, str]:
    """What a program with only the file has to know about the model, as plain text or JSON."""
    settings = loaded.model.settings
    values: dict[str, Any] = {
        "features": settings.features.to_dict(), "normalization": loaded.model.normalization.to_dict(),
        "tokens": loaded.tokens.to_dict(), "labels": loaded.tokens.labels,
        "step_seconds": settings.features.stacked_seconds,
    }
    texts = {name: json.dumps(each, ensure_ascii=False) for name, each in values.items()}
    return texts | {"task": settings.task, "encoder": settings.encoder, "fingerprint": loaded.fingerprint}


def step_graph(model: AcousticModel) -> Graph:
    """The graph of one step of the network. Raises UsageError for a model that cannot be exported."""
    sources = exportable_sources(model, frozenset(STEPS), "ONNX")
    settings = model.settings
    graph = Graph("features", settings.features.stacked_size)
    given, stack = model.normalization, settings.features.stack
    centred = graph.op("Sub", graph.input, graph.constant(np.tile(given.mean.numpy(), stack)))
    x = graph.op("Div", centred, graph.constant(np.tile(given.deviation.numpy(), stack)))
    coder, size = input_coder_of(model), settings.features.stacked_size
    if coder is not None:
        x = graph.send("input", x, coder, size)
    threshold = sources[0].values.change
    if threshold is not None:
        x = graph.hold(graph.state("input.output", size), x, threshold)
    for place, (below, source) in enumerate(pairwise(sources), start=1):
        x = _layer(graph, f"layer{place}", _product(graph, x, below), source, settings.hidden_size)
        if model.encoder.smoothed:
            kept = graph.state(f"layer{place}.integrated", settings.hidden_size)
            x = graph.keep(kept, graph.blend(kept, x, float(model.encoder.integrators[place - 1].coefficient)))
    graph.output = "logits", len(sources[-1].scale)
    graph.op("Identity", _product(graph, x, sources[-1]), name="logits")
    return graph


def _product(graph: Graph, x: str, source: Source) -> str:
    """What the values ``x`` of a source give to the layer above it, or to the head."""
    return graph.affine(x, *(each.numpy() for each in source.affine))


def _layer(graph: Graph, name: str, drive: str, source: Source, size: int) -> str:
    """Add a layer, the one that is this source, to the graph, and return its output."""
    part, around, recurrent = source.layer, source.around, None
    assert part is not None
    if around is not None:
        recurrent = graph.product(graph.state(f"{name}.output", size), around.weight.numpy())
    if part.smoothing and recurrent is not None:
        kept = graph.state(f"{name}.feedback", len(part.weight))
        recurrent = graph.keep(kept, graph.blend(kept, recurrent, part.smoothing))
    if recurrent is not None and not CELLS[part.cell].takes_recurrent:
        drive = graph.op("Add", drive, recurrent)
    return STEPS[part.cell](graph, name, drive, recurrent, part, size)

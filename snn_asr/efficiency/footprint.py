"""How large a model is: parameters, bytes, and the share of its weights that are zero."""

from __future__ import annotations

from dataclasses import dataclass

from snn_asr.network.model import AcousticModel
from snn_asr.network.weights_file import pack


@dataclass(frozen=True)
class Footprint:
    """The size of a model.

    ``footprint_bytes`` counts all parameters and buffers as they lie in memory. ``stored_bytes`` counts the weights of
    a model folder, where pruned matrices are kept without their zeros and a quantised weight takes one byte or half a
    byte. ``connection_sparsity`` is the share of zeros among all weights of matrices and kernels.
    """

    parameters: int
    core_parameters: int
    footprint_bytes: int
    stored_bytes: int
    connection_sparsity: float


def footprint(model: AcousticModel) -> Footprint:
    """Return how large a model is."""
    weights = [each for each in model.parameters() if each.dim() > 1]
    packed = pack(model.state_dict(), model.grids)
    tensors = [*model.parameters(), *model.buffers()]
    return Footprint(
        parameters=model.parameter_count(),
        core_parameters=model.encoder.core_parameters(),
        footprint_bytes=sum(each.numel() * each.element_size() for each in tensors),
        stored_bytes=sum(each.numel() * each.element_size() for each in packed.values()),
        connection_sparsity=sum(int((each == 0).sum()) for each in weights) / sum(each.numel() for each in weights),
    )

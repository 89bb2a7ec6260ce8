"""Speech recognition with spiking recurrent networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_asr.decoding.hypothesis import Hypothesis

if TYPE_CHECKING:
    import torch

    from snn_asr.decoding.recognizer import Recognizer

__all__ = ["Hypothesis", "Recognizer", "__version__", "load_model"]
__version__ = "0.1.0"


def load_model(folder: str | Path, device: str | torch.device = "auto") -> Recognizer:
    """The recognizer in a model folder written by ``snn-asr train``, or in the run folder around it; or, by its name,
    one that comes along (``snn-asr models list``).

    ``device`` is "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or a torch.device.

    Raises DataError where there is no model, UsageError for a device that is not there.
    """
    from snn_asr.decoding.recognizer import Recognizer  # here, so that ``import snn_asr`` does not import torch

    return Recognizer(folder, device)


def __getattr__(name: str) -> Any:
    """``snn_asr.Recognizer``, imported (with torch) when it is first asked for."""
    if name == "Recognizer":
        from snn_asr.decoding.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module 'snn_asr' has no attribute '{name}'")

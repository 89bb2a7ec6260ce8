"""Speech recognition with spiking recurrent networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from snn_asr.decoding.hypothesis import Hypothesis
    from snn_asr.decoding.recognizer import Recognizer

__all__ = ["Hypothesis", "Recognizer", "__version__", "load_model"]
__version__ = "0.1.0"


def load_model(folder: str | Path, device: str | torch.device = "auto") -> Recognizer:
    """The recognizer for a model folder written by ``snn-asr train``, for the run folder around one, or for a model of
    this package by its name (``snn-asr models list``).

    ``device`` is "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or a torch.device.

    Raises DataError if there is no model, and UsageError for a device that does not exist.
    """
    from snn_asr.decoding.recognizer import Recognizer  # here, because ``import snn_asr`` should not import torch

    return Recognizer(folder, device)


def __getattr__(name: str) -> Any:
    """The classes of this package, which are imported (one of them with torch) at their first use.

    So the program, which imports this module first, can soon be told to end.
    """
    if name == "Recognizer":
        from snn_asr.decoding.recognizer import Recognizer

        return Recognizer
    if name == "Hypothesis":
        from snn_asr.decoding.hypothesis import Hypothesis

        return Hypothesis
    raise AttributeError(f"module 'snn_asr' has no attribute '{name}'")

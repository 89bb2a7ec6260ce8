"""Speech recognition with spiking recurrent networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_asr.decoding.recognizer import Recognizer

__version__ = "0.1.0"


def load_model(folder: str | Path, device: str = "cpu") -> Recognizer:
    """The recognizer in a model folder written by ``snn-asr train``. Raises DataError where there is none."""
    from snn_asr.decoding.recognizer import Recognizer  # here, so that ``import snn_asr`` does not import torch

    return Recognizer(folder, device)

"""Encoders as training leaves them."""

from __future__ import annotations

import torch

from snn_asr.network import encoders


def trained_encoder(
    name: str, bidirectional: bool = False, *, input_size: int, hidden_size: int, **options
) -> encoders.Encoder:
    """Two layers in evaluation mode, with statistics and ranges from two training batches."""
    torch.manual_seed(0)
    encoder = encoders.build(name, input_size, hidden_size, 2, bidirectional=bidirectional, **options)
    for _ in range(2):
        encoder(torch.randn(4, 12, input_size), torch.tensor([12, 12, 7, 3]))
    return encoder.eval()

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


def exact(name: str) -> bool:
    """Layers of our own promise equality bit for bit; torch's recurrences, and walked cells that multiply by torch's
    products, round differently with the batch."""
    return name not in ("gru", "lstm", "bn_gru", "bn_lstm", "hard_rlif")


def assert_same(name: str, got: torch.Tensor, wanted: torch.Tensor, atol: float = 1e-6) -> None:
    """Fail where results of the encoder ``name`` differ by more than it promises."""
    if exact(name):
        assert torch.equal(got, wanted)
    else:
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=atol)

"""Encoders for programs of your own: the public names of network/encoders.py.

    encoder = encoders.build("improved_v2", input_size=120, hidden_size=256, num_layers=2, threshold=7).eval()
    y, state = encoder(x, lengths)              # x (B, T, 120) float, lengths (B,) frames; y (B, T, 256)
    y, state = encoder(more, lengths, state)    # the next chunk

After ``.eval()`` nothing is random and statistics are frozen, and padding, the other rows of a batch and cutting into
chunks change no result. ``build`` raises UsageError for an unknown name or option.
"""

from __future__ import annotations

from snn_asr.network.encoders import ENCODERS, Encoder, build

__all__ = ["ENCODERS", "Encoder", "build"]

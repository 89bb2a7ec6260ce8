"""A leaky integrator behind a spiking layer: what the next layer and the head see is a running mean of the events.

    z[n] = a z[n-1] + (1 - a) y[n]

A linear product commutes with it, W z[n] = a W z[n-1] + (1 - a) W y[n], so an event-driven implementation multiplies
by the sparse y alone and integrates the drive; operations are counted that way. It smooths the coder's rounding noise.
The layer's own recurrent product keeps the events as they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError
from snn_asr.network.kernels import choose_backend, load
from snn_asr.network.lengths import Lengths


class LeakyIntegrator(nn.Module):
    """The coefficient a of one layer: fixed, or ``learned`` through its logit from where ``coefficient`` starts it.

    ``backend`` is that of the layer. Raises UsageError for a coefficient outside [0, 1), and for one of 0 that is to
    be learned.
    """

    def __init__(self, coefficient: float, learned: bool = False, backend: str = "auto") -> None:
        super().__init__()
        if not 0 <= coefficient < 1:
            raise UsageError(f"smoothing={coefficient} must lie in [0, 1)", "smoothing")
        if learned and coefficient == 0:
            raise UsageError("smoothing=0 leaves nothing to learn", "learn_smoothing", "start it at 0.5, say")
        self.fixed, self.backend = coefficient, backend
        self.logit = nn.Parameter(torch.tensor(math.log(coefficient / (1 - coefficient)))) if learned else None

    @property
    def coefficient(self) -> Tensor | float:
        return self.fixed if self.logit is None else torch.sigmoid(self.logit)

    @property
    def multiplies(self) -> bool:
        """Whether it takes a multiplication for each value and frame."""
        return self.logit is not None or multiplies(self.fixed)

    def forward(
        self, y: Tensor, lengths: Tensor | Lengths, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """y (B, T, H) to z (B, T, H), zero beyond the lengths; ``state`` (B, H) is z before the first frame (None: 0).

        Returns z and each row's state after its last valid frame, which passes no gradient on.
        """
        if self.logit is None and self.fixed == 0:
            return y, state
        return low_pass(y, lengths, self.coefficient, state, self.backend)


def multiplies(coefficient: float) -> bool:
    """Whether an integrator with this coefficient multiplies: with 0 there is none, and with 1 - 2^-k it moves towards
    what it is given by a shift."""
    return coefficient != 0 and math.frexp(1 - coefficient)[0] != 0.5


def low_pass(
    y: Tensor, lengths: Tensor | Lengths, coefficient: Tensor | float, state: Tensor | None, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """The integration itself, differentiable in y and in a coefficient that is a tensor."""
    lengths = Lengths.of(lengths, y)
    start = torch.zeros_like(y[:, 0]) if state is None else state
    kernel = load(choose_backend(backend, y.device))
    z = kernel.low_pass(y, lengths.tensor, coefficient, start)
    return z, lengths.last(z.detach(), start)

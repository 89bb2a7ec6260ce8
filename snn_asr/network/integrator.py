"""A leaky integrator behind a spiking layer: the next layer and the head see a running mean of its events.

    z[n] = a z[n-1] + (1 - a) y[n]

The integrator smooths the coder's rounding noise. It commutes with a linear product, W z[n] = a W z[n-1] + (1 - a) W
y[n], so an event-driven implementation multiplies the sparse y alone and integrates the product; operations are counted
that way. The layer's own recurrent product takes the events as they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snn_asr.errors import UsageError
from snn_asr.network.kernels import choose_backend, load
from snn_asr.network.lengths import Lengths


class LeakyIntegrator(nn.Module):
    """The integrator of one layer, whose coefficient a is fixed, or ``learned`` (through its logit).

    ``coefficient`` is a, or where learning starts; ``backend`` runs the layer. Raises UsageError for a coefficient
    outside [0, 1), and for one of 0 that is to be learned.
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
        """The coefficient a as it is now."""
        return self.fixed if self.logit is None else torch.sigmoid(self.logit)

    @property
    def multiplies(self) -> bool:
        """Whether the integration needs a multiplication for each value and frame."""
        return self.logit is not None or multiplies(self.fixed)

    def forward(
        self, y: Tensor, lengths: Tensor | Lengths, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """z (B, T, H) of y (B, T, H), zero beyond the lengths, and each row's state after its last valid frame.

        ``state`` (B, H) is z before the first frame, or None for zero. No gradient passes through the states.
        """
        if self.logit is None and self.fixed == 0:
            return y, state
        return low_pass(y, lengths, self.coefficient, state, self.backend)


def multiplies(coefficient: float) -> bool:
    """Whether an integrator with this coefficient needs multiplications.

    With 0 there is no integrator, and with 1 - 2^-k a shift takes the place of the multiplication.
    """
    return coefficient != 0 and math.frexp(1 - coefficient)[0] != 0.5


def low_pass(
    y: Tensor, lengths: Tensor | Lengths, coefficient: Tensor | float, state: Tensor | None, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """``LeakyIntegrator.forward`` for any coefficient; differentiable in y and in a coefficient that is a tensor."""
    lengths = Lengths.of(lengths, y)
    start = torch.zeros_like(y[:, 0]) if state is None else state
    kernel = load(choose_backend(backend, y.device))
    z = kernel.low_pass(y, lengths.tensor, coefficient, start)
    return z, lengths.last(z.detach(), start)

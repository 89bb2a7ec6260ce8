"""Surrogate derivatives against the smooth steps they are the derivatives of."""

from __future__ import annotations

import math

import pytest
import torch

from snn_asr.errors import UsageError
from snn_asr.network import surrogates

WIDTH = 0.3
STEPS = {
    "straight_through": lambda u: u,
    "gaussian": lambda u: 0.5 * (1 + math.erf(u / math.sqrt(WIDTH))),
    "boxcar": lambda u: min(max(u, -WIDTH), WIDTH),
    "atan": lambda u: math.atan(math.pi * u / (2 * WIDTH)) / math.pi + 0.5,
    "fast_sigmoid": lambda u: u / (1 + abs(u) / WIDTH),
}


@pytest.mark.parametrize("name", surrogates.SURROGATES)
def test_derivative_is_that_of_its_step(name):
    u = torch.tensor([-2.0, -0.31, -0.29, -0.1, 1e-3, 0.07, 0.2999, 0.4, 1.7], dtype=torch.float64)
    small = 1e-6
    wanted = [(STEPS[name](each + small) - STEPS[name](each - small)) / (2 * small) for each in u.tolist()]
    assert surrogates.choose(name, WIDTH)(u).tolist() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", surrogates.SURROGATES)
def test_spike_sends_the_step_forward_and_the_derivative_back(name):
    derivative = surrogates.choose(name, WIDTH)
    u = torch.tensor([-1.0, 0.0, 0.2, 3.0], dtype=torch.float64, requires_grad=True)
    sent = surrogates.spike(u, derivative)
    assert sent.tolist() == [0, 0, 1, 1]
    (sent * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert torch.equal(u.grad, torch.tensor([1.0, 2.0, 3.0, 4.0]) * derivative(u.detach()))


def test_gaussian_with_another_area():
    """The image models' exp(-u²)/√(0.3π)."""
    u = torch.tensor([0.5], dtype=torch.float64)
    got = surrogates.choose("gaussian", 1.0, area_width=0.3)(u)
    assert float(got) == pytest.approx(math.exp(-0.25) / math.sqrt(0.3 * math.pi))


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="did you mean 'boxcar'"):
        surrogates.choose("boxcat", 1.0)
    with pytest.raises(UsageError, match="must be positive"):
        surrogates.choose("gaussian", 0.0)

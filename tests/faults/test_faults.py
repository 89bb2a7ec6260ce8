"""Every fault of the table ends as it should: one line, the right exit code, nothing lost."""

from __future__ import annotations

import pytest

from faults.table import Fault, all_faults, fast_faults
from faults.world import World

FAST = fast_faults()
CASES = [
    pytest.param(
        each, id=each.name, marks=() if each.name in FAST else pytest.mark.slow if each.slow else pytest.mark.thorough
    )
    for each in all_faults()
]


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_ends_as_it_should(fault: Fault, world: World) -> None:
    fault.check(world)

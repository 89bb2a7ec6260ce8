"""The cells that have a compiled form, and what an engine that runs them without their modules has to know of each."""

from __future__ import annotations

from dataclasses import dataclass

from snn_asr.events.kernels import stack

_GRU = ("reset", "update", "candidate")


@dataclass(frozen=True)
class Cell:
    """What the equations of a cell ask of whoever runs them. ``number`` is the one that kernels/stack.py knows it by.

    ``gates`` names the blocks of W and U in their order, for cells whose equations differ only in it. A ``dense`` cell
    sends all of its outputs, also zeros. For a cell with a coder ``steering`` says of each block of the drive whether
    it sets a gate; the others reach the membrane. ``resets_first`` says that the reset gate comes before the recurrent
    product of the candidate, which is then taken within the step.
    """

    number: int
    gates: tuple[str, ...] = ()
    dense: bool = False
    steering: tuple[bool, ...] = (False,)
    resets_first: bool = False

    @property
    def takes_recurrent(self) -> bool:
        """Whether the cell takes the recurrent product apart from the drive, and does not only add it."""
        return self.number in stack.TAKES_RECURRENT


# By their names in LayerParts.
CELLS = {
    "gated": Cell(stack.GATED, steering=(True, False)),
    "conventional": Cell(stack.CONVENTIONAL),
    "leaky_integrate_and_fire": Cell(stack.LEAKY_INTEGRATE_AND_FIRE),
    "hard_reset": Cell(stack.HARD_RESET),
    "spiking_lstm": Cell(stack.SPIKING_LSTM),
    "gru": Cell(stack.GRU, _GRU, dense=True),
    "lstm": Cell(stack.LSTM, ("admit", "forget", "candidate", "emit"), dense=True),
    "delta_gru": Cell(stack.DELTA_GRU, _GRU),
    "bn_gru": Cell(stack.BN_GRU, ("update", "reset", "candidate"), dense=True, resets_first=True),
    "bn_lstm": Cell(stack.BN_LSTM, ("forget", "admit", "emit", "candidate"), dense=True),
}

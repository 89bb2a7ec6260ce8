"""The conventional layer (cells/lif.py) as one fused numba scan over all frames of a row."""

from __future__ import annotations

from functools import partial

from numba import njit
from torch import Tensor

from snn_asr.cells.lif import Parameters, State
from snn_asr.kernels import Trace
from snn_asr.kernels.cpu import dense, share
from snn_asr.kernels.cpu.improved import levels, recursion, send
from snn_asr.kernels.reference import lif as reference


@njit(cache=True, nogil=True)
def _forward_rows(drive, lengths, decay, mask, spiking, levels, start, trace):
    currents, membranes, outputs = trace
    masked = mask.shape[1] > 0
    for row in range(drive.shape[0]):
        current, membrane, output = start[0][row].copy(), start[1][row].copy(), start[2][row].copy()
        for n in range(lengths[row]):
            for k in range(outputs.shape[2]):
                given = drive[row, n, k] * mask[row, k] if masked else drive[row, n, k]
                current[k] = decay[k] * current[k] + given
            send(current, membrane, output, levels, spiking)
            currents[row, n], membranes[row, n], outputs[row, n] = current, membrane, output


def forward(drive: Tensor, lengths: Tensor, state: State, parameters: Parameters) -> Trace:
    """As the reference; frames beyond ``lengths`` are not computed, their outputs are zero."""
    drive, mask, decay = drive.contiguous(), dense(parameters.mask, drive), parameters.decay.contiguous()
    states = State(*(drive.new_zeros(drive.shape) for _ in state))
    start = [each.contiguous() for each in state]

    def run(rows: slice) -> None:
        _forward_rows(
            drive[rows].numpy(), lengths[rows].numpy(), decay.numpy(), mask[rows].numpy(),
            parameters.coder is not None, levels(parameters.coder, drive),
            tuple(each[rows].numpy() for each in start), tuple(each[rows].numpy() for each in states),
        )

    share(run, len(drive))
    return Trace(drive, states)


backward = partial(reference.backward, recursion=recursion)

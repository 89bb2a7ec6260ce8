"""Training batches that processes read ahead of the training step."""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from snn_asr import devices
from snn_asr.data.dataset import SpeechDataset
from snn_asr.errors import DataError, SnnAsrError, as_user_error

_KEY = "loader_workers"
_HANDLES = 64  # open files that one process and the batches on their way from it take, with room to spare

log = logging.getLogger(__name__)


class ReadAhead(DataLoader[Any]):
    """A DataLoader whose ``workers`` processes put the batches together.

    What is wrong with a recording is raised as if this process had read it. Raises DataError where one of the processes
    is ended by the system or its user.
    """

    def __init__(self, dataset: Dataset[Any], batches: Iterable[list[int]], workers: int, pin_memory: bool) -> None:
        super().__init__(
            dataset, batch_sampler=batches, num_workers=workers, collate_fn=_as_it_is, pin_memory=pin_memory
        )
        self._reading: Generator[Any, None, None] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches, in their order."""
        self.close()
        self._reading = self._read()
        return self._reading

    def close(self) -> None:
        """End the processes: those that outlive this one complain about it."""
        if self._reading is not None:
            self._reading.close()

    def _read(self) -> Generator[Any, None, None]:
        iterator = super().__iter__()
        try:
            for batch in iterator:
                if isinstance(batch, SnnAsrError):
                    raise batch
                yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            what = "a process that read ahead has been ended, as the system does where memory runs out"
            raise DataError(what, f"{_KEY}={self.num_workers}", "lower it, or free memory (also /dev/shm)") from error
        finally:
            iterator._shutdown_workers()  # type: ignore[attr-defined]  # else done only when nothing refers to it


class WholeBatches(Dataset[Any]):
    """A data set as ``ReadAhead`` reads it: ``collate`` puts together the batch of some examples.

    An error for the user is given in the place of the batch: raised in another process it would lose its parts, and
    bring that process's traceback.
    """

    def __init__(self, dataset: SpeechDataset, collate: Any) -> None:
        self.dataset, self._collate = dataset, collate

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """The batch of these utterances, or what is wrong with one of them (called by DataLoader)."""
        try:
            return self._collate([self.dataset[index] for index in indices])
        except Exception as error:
            described = as_user_error(error)
            if described is None:
                raise
            return described


def _as_it_is(batch: Any) -> Any:
    return batch


def possible_workers(wanted: int) -> int:
    """How many processes may read ahead of ``wanted``: no more than there are processors, and than the files that this
    process may still open allow. The log says where that is fewer."""
    processors, handles = devices.available_processors(), _free_handles() // _HANDLES
    if wanted > processors:
        log.warning("%s=%d: more than there are processors; %d read ahead", _KEY, wanted, processors)
    wanted = min(wanted, processors)
    if wanted > handles:
        log.warning("%s=%d: too few files may be open (ulimit -n); %d read ahead", _KEY, wanted, handles)
    return min(wanted, handles)


def _free_handles() -> int:
    """How many more files this process may open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if most == resource.RLIM_INFINITY else max(most - len(os.listdir("/dev/fd")), 0)

"""Training of an acoustic model: SpeechBrain's Brain, with a state after each epoch that holds everything.

The run folder keeps it (run_folder.py, checkpoint.py), so that a run killed and resumed gives the same weights.

Several processes (processes.py) each take their share of every batch, and step together; the first one writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import speechbrain
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from snn_asr import processes
from snn_asr.data.batches import Batch, BucketedBatches
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.pauses import Pauses
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.greedy import decode
from snn_asr.efficiency.operation_count import OperationCount
from snn_asr.efficiency.operations import Record, count_batch, record_layers
from snn_asr.errors import DivergenceError
from snn_asr.network.encoders import directions
from snn_asr.network.lengths import Lengths
from snn_asr.network.model import AcousticModel
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.error_rates import count_errors
from snn_asr.training import random_states
from snn_asr.training.averaging import AveragedWeights
from snn_asr.training.config import Config
from snn_asr.training.objectives import OBJECTIVES
from snn_asr.training.progress import TrainingProgress
from snn_asr.training.pruning import GradualPruning
from snn_asr.training.rounded_weights import RoundedWeights, packed, unpacked
from snn_asr.training.run_folder import RunFolder
from snn_asr.training.running_loss import RunningLoss
from snn_asr.training.schedules import SCHEDULES, pruning_span, steps_within
from snn_asr.training.step_graphs import step_graphs

TRAIN, VALID = speechbrain.Stage.TRAIN, speechbrain.Stage.VALID


class Predictions(NamedTuple):
    """Of a batch: ``logits`` (B, T, N) with their ``lengths``; in training the layers' ``activity`` () where there is a
    penalty on it, in evaluation the ``records`` of what they did; and the batch on its device."""

    logits: Tensor
    lengths: Lengths
    activity: Tensor | None
    records: list[Any]
    batch: Batch


class RecognizerBrain(speechbrain.Brain):
    """Trains ``model`` on the objective of its task; keeps the averaged weights with the lowest development error.

    SpeechBrain's ``fit`` calls for each of ``epochs()`` first ``on_stage_start``, then for each batch ``fit_batch``
    (with ``compute_forward`` and ``compute_objectives``), then ``on_stage_end``; then the same for the development set,
    with ``evaluate_batch``: its end decides on the best epoch and saves the state. With precision fp64 ``model`` is one
    of float64.
    """

    def __init__(
        self, model: AcousticModel, tokens: Tokens, config: Config, device: str, folder: RunFolder,
        train_set: SpeechDataset, batches: BucketedBatches,
    ) -> None:
        super().__init__(
            modules={"model": model}, opt_class=config.training.make_optimizer, hparams=_options(config, device),
        )
        self.model, self.tokens, self.config, self.folder = model, tokens, config, folder
        self.train_set, self.batches = train_set, batches
        self.penalty = config.training.activity_penalty
        augmentation = config.augmentation
        self.frame_augmentations = [each.fit(model.settings.features) for each in augmentation.frame_augmentations]
        self.pauses = Pauses(
            augmentation.pauses, augmentation.pause_seconds, train_set.extractor, tokens
        ) if augmentation.pauses else None
        epochs, error = config.training.epochs, f"{tokens.unit} error"
        self.progress = TrainingProgress(folder.path.name, epochs, error, processes.is_main())
        self.epoch = 0
        self.best: dict[str, Any] = {
            "epoch": 0, "error_rate": math.inf, "loss": math.inf, "weights": None, "grids": {},
        }
        self.training_seconds = 0.0
        self._rows: list[dict[str, Any]] = []  # of the log
        training, steps = config.training, batches.steps(config.training.epochs)
        self.schedule = SCHEDULES[training.schedule](training, steps)
        self.averaged = AveragedWeights(model, training.average_decay)
        first, last = (steps_within(steps, epochs) for epochs in pruning_span(training))
        self.pruning = GradualPruning(
            model.encoder, training.pruning, first + 1, last, training.pruning_block, prefix="encoder.",
            keep_zeros=bool(training.initial_model),
        )
        self.rounded = RoundedWeights(model, training.quantize)
        self._normalizations = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm1d)]
        self.graphs = step_graphs(model, self._network, self.device)

    def epochs(self) -> Iterator[int]:
        """The epochs still to do; ends when the development error has not improved for ``patience`` epochs, which
        count from the end of pruning on."""
        training = self.config.training
        pruned = pruning_span(training)[1] if training.pruning else 0
        while (
            self.epoch < training.epochs
            and self.epoch - max(self.best["epoch"], pruned) < training.most_idle_epochs
        ):
            yield self.epoch + 1

    def on_fit_start(self) -> None:
        super().on_fit_start()
        state = self.folder.restore()
        if state is not None:
            self._restore(state)

    def on_stage_start(self, stage: speechbrain.Stage, epoch: int | None = None) -> None:
        self._loss = RunningLoss(self.device)
        if stage == TRAIN:
            assert epoch is not None
            self._started = self._ready = time.monotonic()
            self._waiting_seconds = 0.0
            if processes.world() > 1:
                random_states.seed_share(self.config.training.seed, epoch)
            self.train_set.set_epoch(epoch)
            self.batches.set_epoch(epoch)
            self.progress.start_epoch(epoch, len(self.batches))
        else:
            self._counts, self._operations = ErrorCounts(), OperationCount()
            self.averaged.swap_in()
            self._grids = self.rounded.swap_in()

    def compute_forward(self, batch: Batch, stage: speechbrain.Stage) -> Predictions:
        batch = batch.to(self.device)
        if stage == TRAIN and self.pauses is not None and batch.utterances:
            batch = self.pauses(batch)
        lengths = Lengths.of(batch.lengths, batch.frames)
        frames = self._augmented(batch, lengths) if stage == TRAIN else self.model.normalization.apply(batch.frames)
        frames = frames.to(self.model.head.weight.dtype)
        records, activity = [], None
        if stage == TRAIN:
            logits, activity = (self.graphs or self._network)(frames, lengths)
        else:
            with record_layers(self.model.encoder) as records:
                logits, _, _ = self.model(frames, lengths, normalized=True)
        steps = lengths.divided(self.model.settings.features.stack)
        return Predictions(logits.to(frames.dtype), steps, activity, list(records), batch)

    def _network(self, frames: Tensor, lengths: Lengths) -> tuple[Tensor, Tensor | None]:
        """In training: logits (B, T', N), and how much the layers send, a scalar where there is a penalty on it."""
        model = self.modules["model"]  # which may be wrapped for several processes
        if not self.penalty:
            return model(frames, lengths, normalized=True)[0], None
        with record_layers(self.model.encoder) as records:
            logits, _, _ = model(frames, lengths, normalized=True)
        self.model.encoder.read_ranges()
        found = (each.layer.activity(each.y, each.lengths) for each in records if isinstance(each, Record))
        active = [each for each in found if each is not None]
        return logits, sum(active[1:], active[0]) if active else None

    def _augmented(self, batch: Batch, lengths: Lengths) -> Tensor:
        """(B, T, F), normalised."""
        frames = batch.frames
        if not batch.utterances:
            return frames
        for augment in self.frame_augmentations:
            frames = augment(frames, lengths.tensor)
        frames = self.model.normalization.apply(frames)
        for drop in self.config.augmentation.spectrogram_drops:
            frames = drop(frames)
        return frames

    def compute_objectives(self, predictions: Predictions, batch: Batch, stage: speechbrain.Stage) -> Tensor:
        logits, lengths, activity, records, batch = predictions
        loss = OBJECTIVES[self.model.settings.task](logits, lengths, batch) if batch.utterances else logits.sum() * 0
        self._loss.add(loss, len(batch.utterances))
        if stage == TRAIN:
            loss = self._of_share(loss, batch)
        if stage != TRAIN:
            count_batch(records, self.model.head.weight, self._operations)
            self._score(batch, decode(self.model.settings.task, logits, torch.tensor(lengths.counts)))
        elif activity is not None:
            loss = loss + self.penalty * activity
        return loss

    def _of_share(self, loss: Tensor, batch: Batch) -> Tensor:
        """The loss weighted so that the mean of all processes' gradients is that of the mean loss over all utterances
        of a batch."""
        if processes.world() == 1:
            return loss
        mine = torch.full((), len(batch.utterances), dtype=torch.float64, device=self.device)
        return loss * (mine * processes.world() / processes.total(mine)).to(loss)

    def _score(self, batch: Batch, decoded: list) -> None:
        references = {each.id: self.tokens.transcript(each) for each in batch.utterances}
        texts = (self.tokens.decode(each.token for each in emissions) for emissions in decoded)
        hypotheses = dict(zip(references, texts, strict=True))
        self._counts += count_errors(references, hypotheses, self.tokens.unit, self.tokens.scored_phones)

    def on_fit_batch_start(self, batch: Batch, should_step: bool) -> None:
        self._waiting_seconds += time.monotonic() - self._ready
        self.schedule.on_batch(self.optimizer, self.optimizer_step + 1)
        if self._batch_norm_is_frozen:
            self._freeze_batch_norm()

    @property
    def _batch_norm_is_frozen(self) -> bool:
        """A training that goes on with a model has had the epochs of the model's own."""
        training = self.config.training
        return training.batch_norm_epochs > 0 and (
            self.epoch >= training.batch_norm_epochs or bool(training.initial_model)
        )

    def _freeze_batch_norm(self) -> None:
        """Normalise by the running statistics and leave them (SpeechBrain sets every module to training).

        With some ten utterances a batch, statistics of a batch are far from those of evaluation; what is trained on
        the latter at the end knows them.
        """
        for each in self._normalizations:
            each.eval()

    def on_fit_batch_end(self, batch: Batch, outputs: Predictions, loss: Tensor, should_step: bool) -> None:
        if should_step:
            self.averaged.update(self.optimizer_step)
            self.pruning.apply(self.optimizer_step, [self.averaged.average])
        self._ready = time.monotonic()
        self.progress.advance(lambda: self._loss.mean, self.optimizer.param_groups[0]["lr"])

    def fit_batch(self, batch: Batch) -> None:
        """SpeechBrain's, without its reading of the loss from the device at every batch."""
        should_step = self.step % self.grad_accumulation_factor == 0
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step), self.rounded.of_step(self.optimizer_step + 1):
            with self.training_ctx:
                outputs = self.compute_forward(batch, TRAIN)
                loss = self.compute_objectives(outputs, batch, TRAIN)
            self._loss.watch(loss)
            if self._loss.due:
                self._require_finite(self._loss.minimised)
            (loss / self.grad_accumulation_factor).backward()
        if should_step:
            self.optimizers_step()
        self.on_fit_batch_end(batch, outputs, loss, should_step)

    @torch.no_grad()
    def evaluate_batch(self, batch: Batch, stage: speechbrain.Stage) -> None:
        """SpeechBrain's, which reads the loss, too."""
        with self.evaluation_ctx:
            self.compute_objectives(self.compute_forward(batch, stage), batch, stage)

    def update_average(self, loss: None, avg_loss: float) -> float:
        """SpeechBrain's mean of the losses, which nobody asks for: ``RunningLoss`` has them."""
        return avg_loss

    def _require_finite(self, loss: float) -> None:
        """Raise DivergenceError where a loss, or a sum of losses, is no number."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"training diverged in epoch {self.epoch + 1}: the loss is {loss}", self.folder.path,
                "lower learning_rate or recurrent_gain, or lengthen warmup_epochs",
            )

    def on_stage_end(self, stage: speechbrain.Stage, stage_loss: float, epoch: int | None = None) -> None:
        if stage == TRAIN:
            self._require_finite(self._loss.minimised)  # before anything of this epoch is evaluated or saved
        sums, counts = zip(*processes.gather((self._loss.total, self._loss.utterances)), strict=True)
        loss = sum(sums) / max(sum(counts), 1)
        if stage == TRAIN:
            self._train_loss = loss
            return
        self._require_finite(loss)
        counts, operations = zip(*processes.gather((self._counts, self._operations)), strict=True)
        self._counts, self._operations = sum(counts, ErrorCounts()), sum(operations, OperationCount())
        self.training_seconds += time.monotonic() - self._started
        error_rate = self._counts.error_rate
        assert epoch is not None
        self.epoch = epoch
        better = (error_rate, loss) < (self.best["error_rate"], self.best["loss"])
        if better and self.pruning.complete(self.optimizer_step):
            weights = {name: each.detach().cpu().clone() for name, each in self.model.state_dict().items()}
            self.best = {"epoch": epoch, "error_rate": error_rate, "loss": loss, "weights": weights}
            self.best["grids"] = packed(self._grids)
        ranges, rate = self._ranges(), self.optimizer.param_groups[0]["lr"]
        self.rounded.swap_out()
        self.averaged.swap_out()
        self.schedule.on_epoch(self.optimizer, math.inf if error_rate is None else error_rate)
        row = {
            "epoch": epoch, "train_loss": self._train_loss, "dev_loss": loss, "dev_error_rate": error_rate,
            "learning_rate": rate, "density": self._operations.density,
            "ranges": ranges, "best_epoch": self.best["epoch"],
            "seconds": round(time.monotonic() - self._started, 3),
            "waiting_seconds": round(self._waiting_seconds, 3),  # for data
        }
        if processes.is_main():
            self._save(row)
        self.progress.end_epoch(row)

    def restore_best(self) -> None:
        """Give the model the weights of the best epoch, and the grids that they lie on."""
        self.model.load_state_dict(self.best["weights"])
        self.model.grids = unpacked(self.best["grids"])

    def _ranges(self) -> list[float]:
        leaves = (each for layer in self.model.encoder.layers for each in directions(layer))
        return [each.tracker.value() for each in leaves if each.tracker is not None]

    def _save(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        state = {
            "epoch": self.epoch, "best": self.best, "training_seconds": self.training_seconds,
            "optimizer_step": self.optimizer_step, "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
            "average": self.averaged.average, "pruning": self.pruning.state_dict(),
            "rounded": self.rounded.state_dict(), **random_states.capture(self.device),
        }
        self.folder.save(state, self._rows)

    def _wrap_distributed(self) -> None:
        """SpeechBrain's, but for its batch normalisation (batch_norm.py works on the CPU too) and without copying the
        buffers of the first process at each step: they are equal."""
        if processes.world() > 1:
            self.modules["model"] = DistributedDataParallel(self.model, broadcast_buffers=False)

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from the state after an epoch."""
        self._rows = state["log"]
        self.epoch, self.best, self.training_seconds = state["epoch"], state["best"], state["training_seconds"]
        self.optimizer_step = state["optimizer_step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.averaged.average = {name: each.to(self.device) for name, each in state["average"].items()}
        self.pruning.load_state_dict(state["pruning"])
        self.rounded.load_state_dict(state["rounded"])
        random_states.restore(state, self.device)


def _options(config: Config, device: str) -> dict[str, Any]:
    """SpeechBrain's options of a run."""
    return {
        "device": device,
        "max_grad_norm": config.training.max_grad_norm or math.inf,  # it clips to whatever it is given
        "grad_accumulation_factor": config.batches.accumulation,
        "precision": "bf16" if config.training.precision == "bf16" else "fp32",
        "noprogressbar": True,
    }

"""The training loop of an acoustic model: SpeechBrain's Brain, with a complete state after each epoch.

The run folder keeps that state (run_folder/), so that a run that was killed and resumed ends in the
same weights. Several processes (processes.py) each take their share of every batch and step together; the first one
writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import speechbrain
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from snn_asr import processes
from snn_asr.data.batches import Batch, BucketedBatches
from snn_asr.data.dataset import SpeechDataset
from snn_asr.data.tokens import Tokens
from snn_asr.decoding.greedy import decode
from snn_asr.efficiency.operation_count import OperationCount
from snn_asr.efficiency.operations import Record, count_batch, record_layers
from snn_asr.errors import DivergenceError
from snn_asr.network.lengths import Lengths
from snn_asr.network.model import AcousticModel
from snn_asr.scoring.alignments import ErrorCounts
from snn_asr.scoring.error_rates import count_errors
from snn_asr.training.loop import random_states
from snn_asr.training.loop.averaging import AveragedWeights
from snn_asr.training.loop.best_epoch import BestEpoch
from snn_asr.training.loop.objectives import OBJECTIVES
from snn_asr.training.loop.progress import TrainingProgress
from snn_asr.training.loop.pruning import GradualPruning
from snn_asr.training.loop.rounded_weights import RoundedWeights
from snn_asr.training.loop.running_loss import RunningLoss
from snn_asr.training.loop.schedules import SCHEDULES, pruning_span, steps_within
from snn_asr.training.loop.stages import EvaluationStage, TrainingStage
from snn_asr.training.loop.step_graphs import step_graphs
from snn_asr.training.loop.training_frames import TrainingFrames
from snn_asr.training.recipes.config import Config
from snn_asr.training.recipes.keys import BF16, FP32
from snn_asr.training.run_folder.folder import RunFolder

TRAIN, VALID = speechbrain.Stage.TRAIN, speechbrain.Stage.VALID


class Predictions(NamedTuple):
    """What the network makes of a batch.

    ``logits`` (B, T, N) with their ``lengths``, and the ``batch`` as it is on the device. In training ``activity`` is
    how much the layers send, a scalar, or None without a penalty on it; in evaluation ``records`` tell what each layer
    did.
    """

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
        self.training_frames = TrainingFrames(config.augmentation, model, train_set.extractor, tokens)
        epochs, error = config.training.epochs, f"{tokens.unit} error"
        self.progress = TrainingProgress(folder.path.name, epochs, error, processes.is_main())
        self.epoch = 0
        self.best = BestEpoch()
        self.training_seconds = 0.0
        self._rows: list[dict[str, Any]] = []  # of the log
        self._training = TrainingStage(RunningLoss(self.device))
        self._evaluation = EvaluationStage(RunningLoss(self.device))
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
            and self.epoch - max(self.best.epoch, pruned) < training.most_idle_epochs
        ):
            yield self.epoch + 1

    def on_fit_start(self) -> None:
        super().on_fit_start()
        state = self.folder.restore()
        if state is not None:
            self._restore(state)

    def on_stage_start(self, stage: speechbrain.Stage, epoch: int | None = None) -> None:
        if stage == TRAIN:
            assert epoch is not None
            self._training = TrainingStage(RunningLoss(self.device))
            if processes.world() > 1:
                random_states.seed_share(self.config.training.seed, epoch)
            self.train_set.set_epoch(epoch)
            self.batches.set_epoch(epoch)
            self.progress.start_epoch(epoch, len(self.batches))
        else:
            self.averaged.swap_in()
            self._evaluation = EvaluationStage(RunningLoss(self.device), self.rounded.swap_in())

    def compute_forward(self, batch: Batch, stage: speechbrain.Stage) -> Predictions:
        batch = batch.to(self.device)
        if stage == TRAIN:
            batch = self.training_frames.with_pauses(batch)
        lengths = Lengths.of(batch.lengths, batch.frames)
        if stage == TRAIN:
            frames = self.training_frames.normalized(batch, lengths)
        else:
            frames = self.model.normalization.apply(batch.frames)
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
        """In training: logits (B, T', N), and how much the layers send, or None without a penalty on it."""
        model = self.modules["model"]  # which may be wrapped for several processes
        if not self.penalty:
            return model(frames, lengths, normalized=True)[0], None
        with record_layers(self.model.encoder) as records:
            logits, _, _ = model(frames, lengths, normalized=True)
        self.model.encoder.read_ranges()
        found = (each.layer.activity(each.y, each.lengths) for each in records if isinstance(each, Record))
        active = [each for each in found if each is not None]
        return logits, sum(active[1:], active[0]) if active else None

    def compute_objectives(self, predictions: Predictions, batch: Batch, stage: speechbrain.Stage) -> Tensor:
        """The loss that is minimised in training: that of ``predictions.batch``, which is ``batch`` as the network
        heard it."""
        logits, lengths, activity, records, heard = predictions
        task, stage_loss = self.model.settings.task, (self._training if stage == TRAIN else self._evaluation).loss
        loss = OBJECTIVES[task](logits, lengths, heard) if heard.utterances else logits.sum() * 0
        stage_loss.add(loss, len(heard.utterances))
        if stage == TRAIN:
            loss = self._of_share(loss, heard)
            return loss if activity is None else loss + self.penalty * activity
        count_batch(records, self.model.head.weight, self._evaluation.operations)
        self._score(heard, decode(task, logits, torch.tensor(lengths.counts)))
        return loss

    def _of_share(self, loss: Tensor, batch: Batch) -> Tensor:
        """The loss of this process's share of a batch, weighted by its utterances.

        The mean of all processes' gradients is then the gradient of the mean loss over all utterances of the batch.
        """
        if processes.world() == 1:
            return loss
        mine = torch.full((), len(batch.utterances), dtype=torch.float64, device=self.device)
        return loss * (mine * processes.world() / processes.total(mine)).to(loss)

    def _score(self, batch: Batch, decoded: list) -> None:
        """Add the errors of a batch, decoded to emissions, to those of the epoch."""
        references = {each.id: self.tokens.transcript(each) for each in batch.utterances}
        texts = (self.tokens.decode(each.token for each in emissions) for emissions in decoded)
        hypotheses = dict(zip(references, texts, strict=True))
        self._evaluation.counts += count_errors(references, hypotheses, self.tokens.unit, self.tokens.scored_phones)

    def on_fit_batch_start(self, batch: Batch, should_step: bool) -> None:
        self._training.batch_arrived()
        self.schedule.on_batch(self.optimizer, self.optimizer_step + 1)
        if self._batch_norm_is_frozen:
            self._freeze_batch_norm()

    @property
    def _batch_norm_is_frozen(self) -> bool:
        """Whether batch normalisation has had its epochs; a training that starts from a model has had them there."""
        training = self.config.training
        return training.batch_norm_epochs > 0 and (
            self.epoch >= training.batch_norm_epochs or bool(training.initial_model)
        )

    def _freeze_batch_norm(self) -> None:
        """Normalise by the running statistics without changing them. SpeechBrain sets every module to training, so this
        is done before each batch.

        The statistics of a batch of some ten utterances are far from those of evaluation. A network that is trained on
        the latter at the end has adapted to them.
        """
        for each in self._normalizations:
            each.eval()

    def on_fit_batch_end(self, batch: Batch, outputs: Predictions, loss: Tensor, should_step: bool) -> None:
        if should_step:
            self.averaged.update(self.optimizer_step)
            self.pruning.apply(self.optimizer_step, [self.averaged.average])
        self._training.batch_done()
        self.progress.advance(lambda: self._training.loss.mean, self.optimizer.param_groups[0]["lr"])

    def fit_batch(self, batch: Batch) -> None:
        """One batch, as SpeechBrain's method does it, but without reading the loss from the device each time."""
        should_step = self.step % self.grad_accumulation_factor == 0
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step), self.rounded.of_step(self.optimizer_step + 1):
            with self.training_ctx:
                outputs = self.compute_forward(batch, TRAIN)
                loss = self.compute_objectives(outputs, batch, TRAIN)
            self._training.loss.watch(loss)
            if self._training.loss.due:
                self._require_finite(self._training.loss.minimised)
            (loss / self.grad_accumulation_factor).backward()
        if should_step:
            self.optimizers_step()
        self.on_fit_batch_end(batch, outputs, loss, should_step)

    @torch.no_grad()
    def evaluate_batch(self, batch: Batch, stage: speechbrain.Stage) -> None:
        """One batch of development data; like SpeechBrain's method, but it does not read the loss either."""
        with self.evaluation_ctx:
            self.compute_objectives(self.compute_forward(batch, stage), batch, stage)

    def update_average(self, loss: None, avg_loss: float) -> float:
        """Nothing to do: ``RunningLoss`` holds what SpeechBrain would average here."""
        return avg_loss

    def _require_finite(self, loss: float) -> None:
        """Raise DivergenceError if a loss, or a sum of losses, is not finite."""
        if not math.isfinite(loss):
            raise DivergenceError(
                f"training diverged in epoch {self.epoch + 1}: the loss is {loss}", self.folder.path,
                "lower learning_rate or recurrent_gain, or lengthen warmup_epochs",
            )

    def on_stage_end(self, stage: speechbrain.Stage, stage_loss: float, epoch: int | None = None) -> None:
        if stage == TRAIN:
            self._require_finite(self._training.loss.minimised)  # before anything of this epoch is evaluated or saved
            self._training.mean_loss = _mean_of_processes(self._training.loss)
            return
        loss = _mean_of_processes(self._evaluation.loss)
        self._require_finite(loss)
        assert epoch is not None
        self.epoch = epoch
        self._end_epoch(loss)

    def _end_epoch(self, dev_loss: float) -> None:
        """Decide whether the epoch is the best so far, go back to the weights in training, save and report."""
        training, own = self._training, self._evaluation
        counts, operations = zip(*processes.gather((own.counts, own.operations)), strict=True)
        self.training_seconds += training.seconds
        error_rate = sum(counts, ErrorCounts()).error_rate
        assert error_rate is not None  # development data without transcripts are refused before training
        if self.best.is_beaten_by(error_rate, dev_loss) and self.pruning.complete(self.optimizer_step):
            self.best = BestEpoch.of(self.epoch, error_rate, dev_loss, self.model, own.grids)
        ranges, rate = self._ranges(), self.optimizer.param_groups[0]["lr"]
        self.rounded.swap_out()
        self.averaged.swap_out()
        self.schedule.on_epoch(self.optimizer, error_rate)
        row = {
            "epoch": self.epoch, "train_loss": training.mean_loss, "dev_loss": dev_loss, "dev_error_rate": error_rate,
            "learning_rate": rate, "density": sum(operations, OperationCount()).density,
            "ranges": ranges, "best_epoch": self.best.epoch, "seconds": round(training.seconds, 3),
            "waiting_seconds": round(training.waiting_seconds, 3),
        }
        if processes.is_main():
            self._save(row)
        self.progress.end_epoch(row)

    def _ranges(self) -> list[float]:
        """The range of each layer with a coder, for the log."""
        trackers = (each.tracker for each in self.model.encoder.one_way_layers)
        return [each.value() for each in trackers if each is not None]

    def _save(self, row: dict[str, Any]) -> None:
        """Write the state after an epoch, whose row of the log is ``row``."""
        self._rows.append(row)
        state = {
            "epoch": self.epoch, "best": self.best.state_dict(), "training_seconds": self.training_seconds,
            "optimizer_step": self.optimizer_step, "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict(),
            "average": self.averaged.average, "pruning": self.pruning.state_dict(),
            "rounded": self.rounded.state_dict(), **random_states.capture(self.device),
        }
        self.folder.save(state, self._rows)

    def _wrap_distributed(self) -> None:
        """Wrap the model for several processes.

        Unlike SpeechBrain's method this keeps our batch normalisation (batch_norm.py works on the CPU too) and does not
        copy the buffers of the first process at each step, because they are equal in all processes.
        """
        if processes.world() > 1:
            self.modules["model"] = DistributedDataParallel(self.model, broadcast_buffers=False)

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from the state after an epoch."""
        self._rows = state["log"]
        self.epoch, self.training_seconds = state["epoch"], state["training_seconds"]
        self.best = BestEpoch(**state["best"])
        self.optimizer_step = state["optimizer_step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.averaged.average = {name: each.to(self.device) for name, each in state["average"].items()}
        self.pruning.load_state_dict(state["pruning"])
        self.rounded.load_state_dict(state["rounded"])
        random_states.restore(state, self.device)


def _mean_of_processes(loss: RunningLoss) -> float:
    """The mean loss of a stage over the utterances of all processes."""
    sums, counts = zip(*processes.gather((loss.total, loss.utterances)), strict=True)
    return sum(sums) / max(sum(counts), 1)


def _options(config: Config, device: str) -> dict[str, Any]:
    """The options of SpeechBrain's Brain for a run."""
    return {
        "device": device,
        "max_grad_norm": config.training.max_grad_norm or math.inf,  # it clips to whatever it is given
        "grad_accumulation_factor": config.batches.accumulation,
        "precision": BF16 if config.training.precision == BF16 else FP32,
        "noprogressbar": True,
    }

"""Play a training step, a validation and a prediction on a GPU that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor

from segcli.config.schema import Run
from segcli.core.errors import ConfigError
from segcli.engine.assembly import Assembly, Site, assemble
from segcli.engine.inference.evaluator import evaluate
from segcli.engine.runtime import Precision
from segcli.engine.training.step import TrainingStep
from segcli.vram.backward import Saved, backward
from segcli.vram.inputs import Inputs
from segcli.vram.recorder import Log, Recorder
from segcli.vram.stand_in import GPU, Stepping, placed, stand_in

__all__ = ["Played", "play_prediction", "play_training", "precision_of"]

IMPOSSIBLE = (
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.DataDependentOutputException,
    fake_tensor.UnsupportedOperatorException,
)
"""What tensors without data raise where only data could tell."""
PASSES = 2
"""Forward passes that are played of an image in tiles: the others take what these took."""
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "auto": torch.bfloat16, True: torch.bfloat16}


@dataclass(frozen=True)
class Layer:
    """What one module holds."""

    parameters: int
    """Number of values, its own and not those of modules within."""
    weights: int
    """Bytes of parameters and buffers."""


@dataclass(frozen=True)
class Played:
    """One play, as it was noted."""

    log: Log
    layers: dict[str, Layer]
    trainable: int
    stride: int
    """Sizes of an image are multiples of it."""
    reads: int
    """How often training read a value, for which it got zero."""


def precision_of(run: Run, device: torch.device) -> Precision:
    """Number format on the GPU: `auto` takes bf16, as on every GPU since 2020."""
    return Precision(TYPES.get(run.training.amp) if device.type == "cuda" else None, device.type)


class _Unwatched:
    """Looks at no loss: tensors without data have none, and the trainer's guard needs a stream."""

    def watch(self, loss: Tensor, place: str) -> None:
        """Ignore."""

    def settle(self) -> None:
        """Ignore."""


@contextmanager
def _stage(run: Run, device: torch.device) -> Iterator[Assembly]:
    """The parts of the run on the GPU that is not there."""
    site = Site(device, precision_of(run, device), placed, passes=PASSES)
    # what is read decides what is done, and torch.compile would compile
    quiet = run.model_copy(
        update={
            "training": run.training.model_copy(update={"compile": False}),
            "debug": run.debug.model_copy(update={"on_nan": "stop"}),
        }
    )
    try:
        with stand_in():
            with torch.device(device), Stepping(lambda _: None):
                parts = assemble(quiet, site=site)
            yield parts
    except IMPOSSIBLE as error:
        raise ConfigError(
            f"the memory of model `{run.model.type}` cannot be forecast: {type(error).__name__} ({error})",
            hint="a network whose sizes depend on the values of its tensors has none; try it with `--measure` on a GPU",
        ) from error


def _layers(network: nn.Module) -> dict[str, Layer]:
    seen: set[int] = set()
    layers = {}
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        buffers = list(module.buffers(recurse=False))
        size = sum(tensor.numel() * tensor.element_size() for tensor in [*own, *buffers])
        layers[name] = Layer(sum(parameter.numel() for parameter in own), size)
    return layers


def _recorder(parts: Assembly) -> Recorder:
    recorder = Recorder(parts.network, parts.device.type)
    recorder.adopt(parts.network.parameters(), "parameters")
    recorder.adopt(parts.network.buffers(), "buffers")
    recorder.adopt(parts.loss.buffers(), "buffers")
    return recorder


def play_training(run: Run, inputs: Inputs, *, validate: bool = True, device: torch.device = GPU) -> Played:
    """Take two optimizer steps with the step of the trainer itself, then validate a batch.

    Two steps, because the first has no optimizer state yet; two batches a step where gradients are accumulated, because
    the first has no gradients yet.

    Raises:
        ConfigError: The step depends on values, which there are none of.
    """
    with _stage(run, device) as parts:
        recorder, saved = _recorder(parts), Saved()
        trained = _staged(recorder, parts.network)

        def run_backward(loss: Tensor) -> None:
            with recorder.during("training/backward"):
                recorder.note_saved()
                backward(loss, saved, recorder.enter_node)
                recorder.leave_nodes()
                recorder.adopt((p.grad for p in parts.network.parameters() if p.grad is not None), "gradients")
            recorder.enter_stage("training/metrics", "temporary")

        stepping = Stepping(run_backward)
        with recorder, stepping, recorder.following(), trained:
            step = _training_step(parts, recorder)
            group = min(step.group, 2)
            for number in range(2):
                for _ in range(group):
                    with saved.hooks, recorder.during("training/batch", "batch"):
                        step.take(inputs.training_batch(run, _multiple(parts)), share=1.0 / group, place="forecast")
                _update(step, number, recorder)
            reads = stepping.reads
            if validate:
                _validate(step, inputs, recorder)
        return _played(parts, recorder, reads)


def _training_step(parts: Assembly, recorder: Recorder) -> TrainingStep:
    step = TrainingStep(parts, guard=_Unwatched())
    parts.network.epoch_begins(parts.run.training.epochs - 1)  # when least of it is frozen
    if step.stepper.averaged is not None:
        recorder.adopt(step.stepper.averaged.parameters(), "ema")
        recorder.adopt(step.stepper.averaged.buffers(), "ema")
    return step


def _update(step: TrainingStep, number: int, recorder: Recorder) -> None:
    stepper = step.stepper
    with recorder.during("training/optimizer"):
        step.update(stepper.base_lr, number)
        states = [value for state in stepper.optimizer.state.values() for value in state.values()]
        recorder.adopt((value for value in states if isinstance(value, Tensor)), "optimizer")


def _validate(step: TrainingStep, inputs: Inputs, recorder: Recorder) -> None:
    parts, network = step.parts, step.stepper.best_network
    follow = nullcontext() if network is parts.network else recorder.following(network)
    stage = recorder.during("validation/metrics")
    batches = [inputs.validation_batch(parts.run, _multiple(parts))]
    with stage, follow, _staged(recorder, network, "validation"):
        # no file is there whose header could tell the spacing
        evaluate(parts, network, batches, spacing_of=lambda _: parts.layout.stated_spacing)


def play_prediction(run: Run, inputs: Inputs, *, device: torch.device = GPU) -> Played:
    """Predict a batch in a process of its own, which holds the weights and nothing else.

    Raises:
        ConfigError: As `play_training`.
    """
    with _stage(run, device) as parts:
        recorder = _recorder(parts)
        stepping = Stepping(lambda _: None)
        parts.network.eval()
        watched = _staged(recorder, parts.network, "prediction")
        with recorder, stepping, recorder.following(), watched, recorder.during("prediction/metrics"):
            _predict(parts, inputs)
        return _played(parts, recorder, stepping.reads)


@torch.inference_mode()
def _predict(parts: Assembly, inputs: Inputs) -> None:
    image = inputs.image(1, _multiple(parts)).to(parts.device)
    outputs = parts.inferer().logits(image.to(memory_format=parts.memory_format))
    parts.task.probabilities(outputs[parts.task.output], parts.task.presence(outputs))


def _multiple(parts: Assembly) -> int:
    return parts.run.data.preprocessing.pad_to_multiple or parts.network.stride


@contextmanager
def _staged(recorder: Recorder, network: nn.Module, phase: str = "training") -> Iterator[None]:
    """While the network itself runs it is `forward`; what follows is `loss` in training, and `metrics` elsewhere."""
    training = phase == "training"

    def enter(*_: Any) -> None:
        recorder.enter_stage(f"{phase}/forward", "passing" if training else "temporary")

    def leave(*_: Any) -> None:
        recorder.enter_stage(f"{phase}/{'loss' if training else 'metrics'}", "passing" if training else "temporary")

    handles = [network.register_forward_pre_hook(enter), network.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _played(parts: Assembly, recorder: Recorder, reads: int) -> Played:
    recorder.log.settle()
    trainable = sum(p.numel() for p in parts.network.parameters() if p.requires_grad)
    return Played(recorder.log, _layers(parts.network), trainable, _multiple(parts), reads)

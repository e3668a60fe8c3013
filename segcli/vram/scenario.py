"""Simulate a training step, a validation and a prediction on a GPU that does not exist."""

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
from segcli.engine.training.stepping.step import TrainingStep
from segcli.vram.backward import Saved, backward
from segcli.vram.inputs import Inputs
from segcli.vram.recorder import Log, Recorder
from segcli.vram.sharing import ALONE, Group, Sharing, sharing
from segcli.vram.stand_in import GPU, Stepping, placed, stand_in

__all__ = ["Played", "play_prediction", "play_training", "precision_of"]

IMPOSSIBLE = (
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.DataDependentOutputException,
    fake_tensor.UnsupportedOperatorException,
)
"""Exceptions of fake tensors where an operator needs real values."""
PASSES = 2
"""Number of simulated forward passes of a tiled image; further tiles need the same memory."""
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "auto": torch.bfloat16, True: torch.bfloat16}


@dataclass(frozen=True)
class Layer:
    """Parameters and weights of one module."""

    parameters: int
    """Number of parameters of the module itself, without its submodules."""
    weights: int
    """Bytes of parameters and buffers."""


@dataclass(frozen=True)
class Played:
    """Record of one simulation."""

    log: Log
    layers: dict[str, Layer]
    trainable: int
    stride: int
    """Image sizes must be multiples of this."""
    reads: int
    """Number of times the training read a value of a tensor; each read returned zero."""


def precision_of(run: Run, device: torch.device) -> Precision:
    """Choose the precision on the GPU; `auto` uses bf16, as every GPU since 2020 supports it."""
    return Precision(TYPES.get(run.training.amp) if device.type == "cuda" else None, device.type)


class _Unwatched:
    """Guard that checks no loss: fake tensors have no values, and the trainer's guard needs a CUDA stream."""

    def watch(self, loss: Tensor, place: str) -> None:
        """Do nothing."""

    def settle(self) -> None:
        """Do nothing."""


@contextmanager
def _stage(run: Run, device: torch.device, *, shards: bool = False) -> Iterator[Assembly]:
    """Make the parts of the run on the simulated GPU; shards keep the usual layout."""
    place = (lambda network, _: network) if shards else placed
    site = Site(device, precision_of(run, device), place, passes=PASSES)
    # switch off `on_nan: skip`, which decides by the value of the loss, and torch.compile, which takes long
    quiet = run.model_copy(
        update={
            "training": run.training.model_copy(update={"compile": False, "strategy": "ddp"}),
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
            hint="its sizes depend on the values of tensors; measure it on a GPU with `--measure`",
        ) from error


def _layers(network: nn.Module, shared: Sharing | None) -> dict[str, Layer]:
    seen: set[int] = set()
    layers = {}
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        buffers = list(module.buffers(recurse=False))
        size = sum(tensor.numel() * tensor.element_size() for tensor in buffers)
        size += sum(shared.held(each) if shared else each.numel() * each.element_size() for each in own)
        layers[name] = Layer(sum(parameter.numel() for parameter in own), size)
    return layers


def _recorder(parts: Assembly) -> Recorder:
    recorder = Recorder(parts.network, parts.device.type)
    recorder.adopt(parts.network.parameters(), "parameters")
    recorder.adopt(parts.network.buffers(), "buffers")
    recorder.adopt(parts.loss.buffers(), "buffers")
    return recorder


def play_training(
    run: Run, inputs: Inputs, *, validate: bool = True, device: torch.device = GPU, group: Group = ALONE
) -> Played:
    """Simulate two optimizer steps with the trainer's own step, then the validation of a batch.

    Two steps, because in the first step there is no optimizer state yet. With gradient accumulation two batches per
    step, because for the first batch there are no gradients yet.

    Args:
        run: The run, with the share of a batch that one GPU takes.
        inputs: Sizes of its batches.
        validate: Simulate the validation, too.
        device: Device of the simulation.
        group: GPUs that train together.

    Raises:
        ConfigError: The step depends on values, which fake tensors do not have.
    """
    with _stage(run, device, shards=group.shards) as parts:
        recorder, saved = _recorder(parts), Saved()
        shared = sharing(group, recorder, parts.network)
        trained = _staged(recorder, parts.network)

        def enter_node(number: int) -> None:
            recorder.enter_node(number)
            shared.node_begins(number)

        def run_backward(loss: Tensor) -> None:
            with recorder.during("training/backward"):
                recorder.note_saved()
                shared.backward_begins()
                backward(loss, saved, enter_node)
                shared.backward_over()
                recorder.leave_nodes()
                recorder.adopt((p.grad for p in parts.network.parameters() if p.grad is not None), "gradients")
            recorder.enter_stage("training/metrics", "temporary")

        stepping = Stepping(run_backward)
        with recorder, stepping, recorder.following(), trained, shared.watching():
            step = _training_step(parts, recorder, shared)
            batches = min(step.group, 2)
            for number in range(2):
                for _ in range(batches):
                    with saved.hooks, recorder.during("training/batch", "batch"):
                        step.take(inputs.training_batch(run, _multiple(parts)), share=1.0 / batches, place="forecast")
                shared.updating()
                _update(step, number, recorder)
                shared.updated()
            reads = stepping.reads
            if validate:
                shared.validating()
                _validate(step, inputs, recorder)
        return _played(parts, recorder, reads, shared)


def _training_step(parts: Assembly, recorder: Recorder, shared: Sharing) -> TrainingStep:
    step = TrainingStep(parts, guard=_Unwatched(), world=shared.world)
    parts.network.epoch_begins(parts.run.training.epochs - 1)  # the last epoch, in which the fewest layers are frozen
    if step.stepper.averaged is not None:
        recorder.adopt(step.stepper.averaged.parameters(), "ema")
        recorder.adopt(step.stepper.averaged.buffers(), "ema")
    shared.begin(step)
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
        # there is no file with the spacing in its header
        evaluate(parts, network, batches, spacing_of=lambda _: parts.layout.stated_spacing, field_of=lambda _: None)


def play_prediction(run: Run, inputs: Inputs, *, device: torch.device = GPU) -> Played:
    """Simulate the prediction of a batch in a separate process, which holds only the weights.

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
    """Set the stage: `forward` while the network runs, then `loss` in training and `metrics` elsewhere."""
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


def _played(parts: Assembly, recorder: Recorder, reads: int, shared: Sharing | None = None) -> Played:
    log = recorder.finish()
    trainable = sum(p.numel() for p in parts.network.parameters() if p.requires_grad)
    return Played(log, _layers(parts.network, shared), trainable, _multiple(parts), reads)

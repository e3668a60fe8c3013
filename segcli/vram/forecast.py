"""Memory forecast of a run: peaks, stages, layers, and the largest batch and image that fit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod

import torch

from segcli.config.schema import Run
from segcli.vram.growth import FIXED, OPTIMIZER, growing
from segcli.vram.inputs import Inputs, inputs_of, with_batch_size, with_image_size
from segcli.vram.recorder import TOP, Log
from segcli.vram.replay import Replay, fits, replayed
from segcli.vram.results import (
    CONTEXT,
    LIBRARIES,
    NCCL,
    OUTSIDE,
    Forecast,
    LayerUse,
    Limits,
    StageUse,
    SweepRow,
    Timeline,
    allowance,
)
from segcli.vram.scenario import Played, play_prediction, play_training, precision_of
from segcli.vram.search import Search
from segcli.vram.sharing import Group
from segcli.vram.stand_in import GPU

__all__ = ["Forecaster", "gpu_present"]

PHASES = ("training", "validation", "prediction")
STAGES = ("batch", "forward", "loss", "backward", "metrics", "optimizer")
MOST_STRIDES = 2**12
"""Largest image in the search, in strides along its shorter side."""
MOST = 2**16
"""Largest batch in the search."""


class Forecaster:
    """Forecasts the GPU memory of one run: that of the GPU with most to do, if several share it.

    Args:
        run: The run.
        inputs: Sizes of its batches; from its config and data set when left out.
        gpus: Number of GPUs that share each batch.
        when_played: Called after each simulation.
    """

    def __init__(
        self,
        run: Run,
        inputs: Inputs | None = None,
        *,
        gpus: int = 1,
        when_played: Callable[[], None] = lambda: None,
    ) -> None:
        self.run = run
        self.when_played = when_played
        self.group = Group(gpus, run.training.strategy)
        self.inputs = inputs_of(run) if inputs is None else inputs

    @cached_property
    def training(self) -> Played:
        """Recorded run of two training steps and a validation."""
        run = with_batch_size(self.run, self.group.share(self.run.data.batch_size))
        played = play_training(run, self.inputs, group=self.group)
        self.when_played()
        return played

    def of(self, run: Run) -> "Forecaster":
        """Make a forecaster of a changed run with batches of the same images, on the same GPUs."""
        return self._made(run, self.inputs)

    def _made(self, run: Run, inputs: Inputs) -> "Forecaster":
        return Forecaster(run, inputs, gpus=self.group.gpus, when_played=self.when_played)

    @cached_property
    def replay(self) -> Replay:
        """Memory of `training` with the allocator's rounding and placing."""
        return replayed(self.training.log)

    @cached_property
    def prediction(self) -> Replay:
        """Memory of a prediction in a separate process."""
        played = play_prediction(self.run, self.inputs)
        self.when_played()
        return replayed(played.log)

    # ---- memory of the run

    @property
    def device(self) -> int:
        """Bytes on the GPU during training and validation, as `Forecast.device`."""
        return self.replay.reserved + allowance(self.group.gpus)

    def forecast(self, *, depth: int | None = None) -> Forecast:
        """Forecast everything except limits and sweeps.

        Args:
            depth: Group layers below this level of the network; None lists each module.
        """
        played, replay, run = self.training, self.replay, self.run
        notes = list(self.inputs.notes)
        if run.training.compile:
            notes.append("`training.compile` is on: the forecast is for the network without compilation")
        if played.reads:
            notes.append(f"training reads the values of {played.reads} tensors; the forecast uses 0 for each")
        several = f", {NCCL // 2**20} MiB for NCCL" if self.group.gpus > 1 else ""
        notes.append(
            f"allowances, not forecast: {CONTEXT // 2**20} MiB for CUDA's context, {LIBRARIES // 2**20} MiB for cuDNN"
            + several
        )
        return Forecast(
            run=run.name,
            model=run.model.type,
            precision=precision_of(run, GPU).name,
            batch_size=run.data.batch_size,
            image_size=self.inputs.train,
            accumulation=run.training.gradient_accumulation_steps,
            optimizer=run.training.optimizer.type,
            parameters=sum(layer.parameters for layer in played.layers.values()),
            trainable=played.trainable,
            kinds=dict(sorted(replay.kinds.items())),
            at_peak=dict(sorted(replay.at_peak.items())),
            activations=sum(played.log.blocks[number].size for number in played.log.kept),
            peak=replay.peak,
            reserved=replay.reserved,
            stages=_stages({**replay.stages, **self.prediction.stages}),
            layers=_layers(played, replay, depth),
            notes=tuple(notes),
            gpus=self.group.gpus,
            strategy=self.group.strategy,
            batch_per_gpu=self.group.share(run.data.batch_size),
        )

    def timeline(self) -> Timeline:
        """Return the memory over the course of the step, for a chart."""
        log, replay = self.training.log, self.replay
        blocks = [log.blocks[event if event >= 0 else ~event] for event in log.events]
        ends = [*(moment.first_event for moment in log.moments[1:]), len(log.events)]
        places = [m for m, end in zip(log.moments, ends, strict=True) for _ in range(end - m.first_event)]
        stages, layers, kinds = Names(), Names(), Names()
        return Timeline(
            used=replay.curve,
            reserved=replay.curve_reserved,
            change=[block.size if event >= 0 else -block.size for block, event in zip(blocks, log.events, strict=True)],
            stage=[stages.position(place.stage) for place in places],
            layer=[layers.position(place.layer) for place in places],
            kind=[kinds.position(block.kind) for block in blocks],
            stages=list(stages),
            layers=list(layers),
            kinds=list(kinds),
        )

    # ---- limits

    def fits(self, vram: int) -> bool:
        """Tell if training and validation fit a GPU with `vram` bytes."""
        log = self.training.log
        return fits(log.events, [block.size for block in log.blocks], self._capacity(vram))

    def _capacity(self, vram: int) -> int:
        return vram - allowance(self.group.gpus)

    def limits(self, vram: int) -> Limits:
        """Find the largest batch with and without mixed precision, and the largest image, for `vram` bytes."""
        own = precision_of(self.run, GPU).name
        batches = {own: self.max_batch_size(vram)}
        other = "off" if own != "fp32" else "bf16"
        training = self.run.training.model_copy(update={"amp": other})
        changed = self.of(self.run.model_copy(update={"training": training}))
        batches["fp32" if other == "off" else other] = changed.max_batch_size(vram)
        return Limits(vram, batches[own], batches, self.max_image_size(vram))

    def max_batch_size(self, vram: int, *, most: int = MOST) -> int:
        """Find the largest batch that fits, over all GPUs; 0 if none does. Each GPU has the largest share that fits."""
        # a single image is laid out in memory in its own way, so that blocks of others do not follow from its own
        shares = self.group.share(most)
        first = min(max(self.group.share(self.run.data.batch_size), 2), shares)
        begun = self._with_share(first)
        still = (OPTIMIZER, "validation" if self.run.data.val_batch_size else "validation/metrics")
        search = Search(
            lambda count: self._with_share(count).log,
            float,
            self._capacity(vram),
            shares,
            grows=lambda log: growing(log, still),
        )
        search.logs[first] = begun.log
        guess = 1 if begun.log is None else int(first * begun.growth(vram))
        return min(search.largest(first, guess) * self.group.gpus, most)

    def _with_share(self, count: int) -> "Forecaster":
        """Make a forecaster in which each GPU has this number of images."""
        return self._with_batch(count * self.group.gpus)

    def _with_batch(self, count: int) -> "Forecaster":
        return self if count == self.run.data.batch_size else self.of(with_batch_size(self.run, count))

    @property
    def log(self) -> Log | None:
        """Memory of `training`; None if batch norm refuses to train on a single value per channel."""
        try:
            return self.training.log
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                return None
            raise

    def growth(self, vram: int) -> float:
        """Estimate how much more images or pixels fit, as if all memory that is not fixed grew with them."""
        fixed = sum(self.replay.kinds.get(kind, 0) for kind in FIXED)
        return max(self._capacity(vram) - fixed, 0) / max(self.replay.peak - fixed, 1)

    def max_image_size(self, vram: int) -> tuple[int, ...] | None:
        """Find the largest image with the same aspect ratio that fits at the run's batch size; None if none does."""
        stride, axes = self.training.stride, len(self.inputs.train)
        shortest = min(self.inputs.train)

        def size(number: int) -> tuple[int, ...]:
            return tuple(max(round(number * length / shortest), 1) * stride for length in self.inputs.train)

        def pixels(number: int) -> float:
            return float(prod(size(number)))

        guess = max(int(shortest / stride * self.growth(vram) ** (1 / axes)), 1)
        still = (OPTIMIZER, "validation") if self.run.data.patch_size else (OPTIMIZER,)
        search = Search(
            lambda number: self.with_image_size(size(number)).log,
            pixels,
            self._capacity(vram),
            MOST_STRIDES,
            grows=lambda log: growing(log, still),
        )
        first = shortest // stride
        if self._is_sized(size(first)):
            search.logs[first] = self.log
        else:
            first = guess // 2 or 2
        best = search.largest(first, guess)
        return size(best) if best else None

    def _is_sized(self, size: tuple[int, ...]) -> bool:
        """Tell if this is already the forecaster of images of a size."""
        return size == self.inputs.train and (bool(self.run.data.patch_size) or size == self.inputs.val_resized)

    def with_image_size(self, size: tuple[int, ...]) -> "Forecaster":
        """Make a forecaster of the same run with images, or patches, of another size."""
        run = with_image_size(self.run, size)
        whole = self.inputs.val_resized if self.run.data.patch_size else size
        return self._made(run, replace(self.inputs, train=size, val_resized=whole))

    def sweep(self, key: str, values: Sequence[int], vram: int | None) -> list[SweepRow]:
        """Forecast other batch sizes (`batch`) or image sizes (`image_size`)."""
        rows = []
        for value in values:
            other = (
                self._with_batch(value) if key == "batch" else self.with_image_size((value,) * len(self.inputs.train))
            )
            fit = None if vram is None else other.fits(vram)
            rows.append(SweepRow(key, str(value), other.replay.peak, other.replay.reserved, fit))
        return rows


class Names(dict[str, int]):
    """Names with their positions, in order of first use."""

    def position(self, name: str) -> int:
        """Return the position of a name; a new name is added."""
        return self.setdefault(name, len(self))


def gpu_present() -> int | None:
    """Return the total memory of this machine's GPU in bytes; None without a GPU."""
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def _stages(stages: dict[str, tuple[int, int]]) -> list[StageUse]:
    order = [f"{phase}/{stage}" for phase in PHASES for stage in STAGES]
    return [StageUse(name.split("/")[0], name.split("/")[1], *stages[name]) for name in order if name in stages]


def _layers(played: Played, replay: Replay, depth: int | None) -> list[LayerUse]:
    """Make one row for each module with parameters, buffers or activations, in the order of the network."""
    kept = _kept(played.log)
    rows: dict[str, LayerUse] = {}
    for name, layer in [*played.layers.items(), (OUTSIDE, None)]:
        own = "" if name == OUTSIDE else name or TOP
        parameters, weights = (layer.parameters, layer.weights) if layer else (0, 0)
        peak = replay.layers.get(own, 0)
        if not (weights or kept.get(own)):
            continue
        shown = name if name == OUTSIDE else ".".join(own.split(".")[:depth])
        before = rows.get(shown, LayerUse(shown, 0, 0, 0, 0))
        rows[shown] = LayerUse(
            shown,
            before.parameters + parameters,
            before.weights + weights,
            before.activations + kept.get(own, 0),
            max(before.peak, peak),
        )
    return list(rows.values())


def _kept(log: Log) -> dict[str, int]:
    kept: dict[str, int] = {}
    for number in log.kept:
        block = log.blocks[number]
        kept[block.layer] = kept.get(block.layer, 0) + block.size
    return kept

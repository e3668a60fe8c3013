"""Overrides of a run that lower its memory on the GPU."""

from collections.abc import Iterator

from segcli.core.registry import TASKS
from segcli.vram.forecast import Forecaster
from segcli.vram.growth import FIXED
from segcli.vram.inputs import with_batch_size
from segcli.vram.results import Forecast, Lever

__all__ = ["levers"]

SMALLEST = {2: 64, 3: 32}
"""Smallest side of a patch that is proposed, by the number of axes."""
LARGE = 0.1
"""Share of the peak from which activations are worth to be recomputed."""


def levers(forecaster: Forecaster, forecast: Forecast) -> tuple[Lever, ...]:
    """List the overrides that lower the memory of a run; the first one is forecast, too."""
    found: list[Lever] = []
    for words, other in _changed(forecaster, forecast):
        try:
            found.append(Lever(words, None if found else other.device))
        except ValueError as error:  # batch norm refuses to train on a single value per channel
            if "more than 1 value per channel" not in str(error):
                raise
    return tuple(found)


def _changed(forecaster: Forecaster, forecast: Forecast) -> Iterator[tuple[str, Forecaster]]:
    """Give the overrides, and the forecaster of each."""
    run, inputs = forecaster.run, forecaster.inputs
    training, fixed = run.training, sum(forecast.at_peak.get(kind, 0) for kind in FIXED)
    gpus = forecaster.group.gpus
    if gpus > 1 and training.strategy == "ddp" and fixed > LARGE * forecast.peak:
        sharded = training.model_copy(update={"strategy": "fsdp"})
        yield "training.strategy=fsdp", forecaster.of(run.model_copy(update={"training": sharded}))
    if fixed > (1 - LARGE) * forecast.peak:
        return  # almost nothing depends on the images
    in_training = forecast.peak_stage.phase == "training"
    if run.data.batch_size >= 2 * gpus:
        half = -(-run.data.batch_size // 2)
        steps = 2 * training.gradient_accumulation_steps
        fewer = with_batch_size(run, half)
        changed = fewer.model_copy(
            update={"training": training.model_copy(update={"gradient_accumulation_steps": steps})}
        )
        words = f"data.batch_size={half} training.gradient_accumulation_steps={steps}"
        yield words, forecaster.of(changed)
    if forecast.precision == "fp32":
        changed = run.model_copy(update={"training": training.model_copy(update={"amp": "bf16"})})
        yield "training.amp=bf16", forecaster.of(changed)
    if in_training and not run.model.checkpoint_activations and forecast.activations > LARGE * forecast.peak:
        model = run.model.model_copy(update={"checkpoint_activations": True})
        changed = run.model_copy(update={"model": model})
        yield "model.checkpoint_activations=true", forecaster.of(changed)
    patch = _smaller(inputs.train, forecaster.training.stride)
    if in_training and patch is not None and TASKS.load(run.task_name).has_pixels:
        data = run.data.model_copy(update={"patch_size": list(patch)})
        changed = run.model_copy(update={"data": data})
        words = f"data.patch_size=[{','.join(map(str, patch))}]"
        yield words, forecaster.of(changed).with_image_size(patch)
    if not in_training and training.validate_on == "device" and training.strategy == "ddp":
        changed = run.model_copy(update={"training": training.model_copy(update={"validate_on": "cpu"})})
        yield "training.validate_on=cpu", forecaster.of(changed)


def _smaller(size: tuple[int, ...], stride: int) -> tuple[int, ...] | None:
    """Halve a size, in whole strides; None if the half is too small to train on."""
    half = tuple(length // 2 // stride * stride for length in size)
    return half if min(half) >= SMALLEST[len(size)] else None

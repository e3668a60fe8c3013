"""Use of the forecast in a training: choose the batch size, refuse a run that cannot fit, explain out-of-memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segcli.config.schema import Run
from segcli.core.errors import ConfigError, DeviceError, DeviceMemoryError, SegcliError
from segcli.core.ranks import place
from segcli.engine.events import Listener
from segcli.engine.runtime import choose_device, choose_precision
from segcli.vram.forecast import Forecaster
from segcli.vram.inputs import with_batch_size
from segcli.vram.results import CONTEXT

__all__ = ["beside_forecast", "explained_by_forecast", "memory_for", "refuse_what_cannot_fit", "with_fitting_batch"]


def memory_for(run: Run) -> int | None:
    """Return the bytes that the run may use on its GPU: free memory plus the existing CUDA context; None without a GPU.

    Raises:
        DeviceError: There is no such device.
    """
    device = choose_device(run.device)
    return torch.cuda.mem_get_info(device)[0] + CONTEXT if device.type == "cuda" else None


def _forecaster(run: Run) -> Forecaster:
    """Make a forecaster with the precision of the run's own device."""
    name = choose_precision(run.training.amp, choose_device(run.device)).name
    training = run.training.model_copy(update={"amp": "off" if name == "fp32" else name})
    return Forecaster(run.model_copy(update={"training": training}), gpus=_gpus())


def _gpus() -> int:
    """Count the GPUs that this command shares its batches among: one for each process."""
    here = place()
    return 1 if here is None else here.size


def with_fitting_batch(run: Run, listener: Listener) -> Run:
    """Replace `data.batch_size: auto` by the largest batch that fits; other runs do not change.

    Raises:
        ConfigError: The run has no GPU whose memory could decide.
        DeviceError: Not even one image fits.
    """
    if not run.data.fit_batch_size:
        return run
    vram = memory_for(run)
    if vram is None:
        raise ConfigError(
            f"`data.batch_size: auto` needs a GPU, and the run is on `{choose_device(run.device)}`",
            hint="give a number, such as `data.batch_size=4`",
        )
    gpus = _gpus()
    most = max(run.data.max_batch_size, gpus)
    best = _forecaster(run).max_batch_size(vram, most=most)
    if best == 0:
        raise DeviceError(
            f"by the forecast, not even one image fits the {_gib(vram)} that the GPU has free",
            hint="lower `data.image_size` or `data.patch_size`, or choose a smaller network",
        )
    held = ", limited by `data.max_batch_size`" if best == most else ""
    each = f" on each of {gpus} GPUs" if gpus > 1 else ""
    listener.notice(f"batch size {best}: the largest that the forecast fits into {_gib(vram)}{each}{held}")
    changed = with_batch_size(run, best)
    return changed.model_copy(update={"data": changed.data.model_copy(update={"fit_batch_size": False})})


def refuse_what_cannot_fit(run: Run, listener: Listener, *, force: bool) -> None:
    """Refuse a run that does not fit by the forecast, before anything is put on the GPU.

    Args:
        run: The run.
        listener: Receives a warning instead of the error, with `force`.
        force: Train in spite of the forecast.

    Raises:
        DeviceError: By the forecast the run does not fit.
    """
    vram = memory_for(run)
    if vram is None:
        return
    forecaster = _forecaster(run)
    if forecaster.fits(vram):
        return
    message = (
        f"by the forecast, batch {run.data.batch_size} takes {_gib(forecaster.forecast().device)} of GPU memory, "
        f"{_gib(vram)} are free"
    )
    if force:
        listener.warn(message)
        return
    raise DeviceError(message, hint=f"{_smaller(forecaster, vram)}, or train anyway with `--force`")


@contextmanager
def explained_by_forecast(run: Run) -> Iterator[None]:
    """Add the forecast to the message if memory runs out in this context.

    Raises:
        DeviceError: The memory of the run's device is exhausted.
    """
    try:
        yield
    except DeviceMemoryError as error:
        raise beside_forecast(run, error) from error.__cause__


def beside_forecast(run: Run, error: DeviceError) -> DeviceError:
    """Add the forecast, and that of half the batch size, to an out-of-memory error."""
    try:
        vram = memory_for(run)
        if vram is None:
            return error
        total = torch.cuda.get_device_properties(choose_device(run.device)).total_memory
        forecaster = _forecaster(run)
        forecast = f"the forecast is {_gib(forecaster.forecast().device)} of {_gib(total)}"
        half = run.data.batch_size // 2
        if half:
            halved = _forecaster(with_batch_size(run, half)).forecast().device
            forecast += f", and {_gib(halved)} with `data.batch_size={half}`"
        hint = "another process may use the rest: `segcli profile-memory --processes`"
        if not forecaster.fits(total):
            hint = f"{_smaller(forecaster, total)} by the forecast"
    except SegcliError:  # a network that cannot be forecast still ran out of memory
        return error
    return DeviceError(f"{error.message}; {forecast}", hint="; ".join(filter(None, (hint, error.hint))))


def _smaller(forecaster: Forecaster, vram: int) -> str:
    best = forecaster.max_batch_size(vram, most=forecaster.run.data.batch_size)
    return f"`data.batch_size={best}` fits" if best else "not even one image fits: lower `data.image_size`"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"

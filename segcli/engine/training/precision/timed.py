"""The precision that `training.amp: auto` takes, decided once, before the first step, and written to the run's config.

A GPU is asked what it is fast at. On a CPU, steps of the run's own network are timed in float32 and in bf16, because
the gain depends on the network as much as on the processor. The result is kept in a file, so that a second training of
the same network on the same machine is computed in the same way.
"""

import hashlib
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segcli.core.errors import DataError
from segcli.core.heap import keep_freed_memory
from segcli.core.kept import read_kept, write_kept
from segcli.core.platform import LINUX
from segcli.core.processor import has_fast_bf16, processor_flags, processor_kind
from segcli.data.samples import padded_size
from segcli.engine.assembly import Assembly
from segcli.engine.events import Listener
from segcli.engine.runtime import Precision, choose_precision
from segcli.engine.training.reasons.refused import refuse_precision
from segcli.engine.world import World

__all__ = ["bf16_gain", "with_decided_precision"]

WORTH = 1.2
"""Times as fast as float32 that bf16 must be."""
IMAGES = 2
"""Images of a timed step: a batch norm needs two."""
SIDE = {2: 256, 3: 64}
"""Largest side of a timed image, by the number of axes."""
UNKNOWN = {2: 128, 3: 32}
"""Side of a timed image if no key states the size of the images."""
LEAST_WORK = 2e9
"""Parameters times pixels of a timed step below which the steps of a network are too short to gain."""
LONG_S = 0.1
"""Seconds of a step after which no larger image is tried."""
TIMED_S = 0.5
"""Seconds in which steps are timed; each precision has one step in any case."""
seconds = time.process_time if LINUX else time.perf_counter
"""Clock of a step: that of the processor, which a busy machine does not disturb, where it is fine enough."""


@dataclass(frozen=True)
class _Choice:
    amp: str
    why: str


def with_decided_precision(
    parts: Assembly, listener: Listener, world: World, *, resumed: bool, keep: bool = True
) -> Assembly:
    """Decide what `training.amp: auto` means for this training, write it into the run, and tell what is slow.

    A resumed run has decided already; one of an earlier version, whose config says `auto`, stays in float32 on a CPU.

    Args:
        parts: Parts of the run.
        listener: Receives the decision as a notice, and a warning of a format that the processor emulates.
        world: Processes that share the training; the first one decides.
        resumed: The run has been trained before.
        keep: Keep what was timed in a file.

    Raises:
        DeviceError: The device does not train in the requested precision.
    """
    run = parts.run
    refuse_precision(run, parts.device.type)
    if run.training.amp == "auto" and not resumed:
        choice = world.told(_chosen(parts, keep=keep) if world.is_first else _Choice("", ""))
        if choice.why:
            name = "fp32" if choice.amp == "off" else choice.amp
            listener.notice(f"precision {name}, chosen by `training.amp: auto`: {choice.why}")
        training = run.training.model_copy(update={"amp": choice.amp})
        run = run.model_copy(update={"training": training})
        precision = replace(choose_precision(choice.amp, parts.device), volumes=parts.precision.volumes)
        return replace(parts, run=run, precision=precision)
    if parts.precision.slow is not None and world.is_first:
        listener.warn(_slowness(parts, parts.precision.slow))
    return parts


def _chosen(parts: Assembly, *, keep: bool) -> _Choice:
    if parts.device.type != "cpu":  # the device itself decides, and the line that names it tells its precision
        return _Choice("off" if parts.precision.dtype is None else parts.precision.name, "")
    if parts.run.training.reduce == "exact":
        return _Choice("off", "`training.reduce: exact` gives the same bits on all processors")
    if has_fast_bf16() is False:
        return _Choice("off", "this processor would emulate bf16, as it has neither AVX-512 BF16 nor AMX")
    if _work(parts) < LEAST_WORK:
        return _Choice("off", "the steps of this network are too short to gain from bf16")
    gain = _kept_gain(parts, keep=keep)
    if gain is None:
        return _Choice("off", "bf16 could not be timed")
    timed = f"a step in bf16 is {gain:.2f} times as fast, timed on this machine"
    return _Choice("bf16", timed) if gain >= WORTH else _Choice("off", f"{timed}; less than {WORTH} is not taken")


def _slowness(parts: Assembly, reason: str) -> str:
    """Say how much longer a step takes in a format that the processor emulates."""
    gain = bf16_gain(parts)
    factor = "may take several times as long" if gain is None else f"takes {1.0 / gain:.1f} times as long"
    return (
        f"`training.amp: {parts.precision.name}` is slow here: {reason}; a step {factor} as in float32 (set "
        "`training.amp=off`, or `auto` in a new training for what is faster)"
    )


# ---- the timing


def _kept_gain(parts: Assembly, *, keep: bool) -> float | None:
    """Return what an earlier training on this machine has timed, or time it."""
    file = _file(parts)
    with suppress(KeyError, TypeError, ValueError):
        return float((read_kept(file) or {})["gain"])
    gain = bf16_gain(parts)
    if keep and gain is not None:
        with suppress(OSError, DataError):  # the decision stands in the run's config, too
            write_kept(file, {"gain": round(gain, 3)})
    return gain


def _file(parts: Assembly) -> Path:
    """Name the file that keeps what was timed: another processor or network has another file."""
    run, flags = parts.run, sorted(processor_flags() or ())
    machine = [processor_kind(), *flags, torch.__version__, torch.get_num_threads()]
    network = [run.model.model_dump_json(), parts.network.io, parts.memory_format, _size(parts)]
    digest = hashlib.sha256("|".join(map(str, [*machine, *network])).encode()).hexdigest()[:16]
    return (run.data.cache_dir or Path("outputs") / "cache") / f"precision_{digest}.json"


def bf16_gain(parts: Assembly) -> float | None:
    """Time forward and backward pass of the network; return how many times as fast bf16 is as float32.

    The passes run on a copy of the network and on random images; small images come first, and larger ones follow as
    long as they are quick. Random generators and network stay as they are.

    Returns:
        The quotient of the shortest times; None if the network cannot be run on such images.
    """
    keep_freed_memory()  # as in the training: else, clearing pages takes more of the time of float32
    network = deepcopy(parts.network).train()
    bf16 = Precision(torch.bfloat16, "cpu", volumes=parts.precision.volumes)
    with torch.random.fork_rng(devices=[]):
        try:
            return _gain(network, _images(parts), bf16)
        except (RuntimeError, ValueError):
            return None


def _images(parts: Assembly) -> list[Tensor]:
    """Make random batches, the smallest first."""
    network, whole = parts.network, _size(parts)
    least = tuple(min(2 * network.stride, side) for side in whole)
    shares = [1] if network.needs_size else [4, 2, 1]
    sizes = [padded_size(tuple(side // share for side in whole), network.stride, least) for share in shares]
    shape = (IMAGES, network.io.in_channels)
    made = [torch.randn(*shape, *size) for size in dict.fromkeys(sizes)]
    return [image.to(parts.device, memory_format=parts.memory_format) for image in made]


def _gain(network: nn.Module, images: list[Tensor], bf16: Precision) -> float:
    fp32 = replace(bf16, dtype=None)
    for image in images:
        # bf16 first: what only a first step takes is counted against it
        times = {each: [_seconds(network, image, each)] for each in (bf16, fp32)}
        if times[fp32][0] > LONG_S:
            break
    began = time.perf_counter()
    while time.perf_counter() - began + times[bf16][0] + times[fp32][0] < TIMED_S:
        for precision, found in times.items():
            found.append(_seconds(network, image, precision))
    return min(times[fp32]) / min(times[bf16])


def _seconds(network: nn.Module, image: Tensor, precision: Precision) -> float:
    """Time a step, without the optimizer."""
    began = seconds()
    with precision.autocast():
        outputs: dict[str, Tensor] = network(image)
    loss: Any = torch.stack([value.float().square().mean() for value in outputs.values()]).sum()
    loss.backward()
    network.zero_grad(set_to_none=True)
    return seconds() - began


# ---- sizes


def _size(parts: Assembly) -> tuple[int, ...]:
    """Return the size of a timed image: that of a training, but not above `SIDE`."""
    run, ndim = parts.run, parts.layout.ndim
    size = run.data.patch_size or run.data.image_size or run.dataset.image_size or parts.layout.case_size
    sides = tuple(size or [UNKNOWN[ndim]] * ndim)
    if parts.network.needs_size:
        return sides
    return padded_size(tuple(min(side, SIDE[ndim]) for side in sides), parts.network.stride)


def _work(parts: Assembly) -> float:
    """Multiply parameters and pixels: no network has more multiplications in a step."""
    pixels = torch.Size(_size(parts)).numel() * IMAGES
    return float(sum(each.numel() for each in parts.network.parameters())) * pixels

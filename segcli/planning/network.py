"""Choose the network of a plan: stem, levels, strides and widths, and the patches and batches that it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from segcli.planning.facts import Measures
from segcli.planning.machine import Machine
from segcli.planning.room import Room

__all__ = ["BASES", "Shape", "operations", "shaped"]

STEPS = 3000
"""Optimizer steps that a training should have, at least, before a wider network is worth its time. The shipped recipes
have 500 to 6000."""
BASES = {2: (32, 24, 16), 3: (32, 24, 16, 12)}
"""Channels of the first level, the widest first."""
WIDEST = {True: 512, False: 256}
"""Most channels of a level on a GPU, and on a CPU."""
SHARE = 0.7
"""Share of the time for steps; the rest goes to validations, checkpoints and the report."""
SIDE = {True: 512, False: 192}
"""Side of a 2D patch that the first level of the network sees, on a GPU, and on a CPU."""
CUBE = {True: 96, False: 48}
"""Side of a 3D patch along the finest axis, on a GPU, and on a CPU."""
PIXELS = {True: 1_000_000, False: 150_000}
"""Pixels of a batch at the first level of the network, on a GPU, and on a CPU."""
SHORT = 320
"""Shortest side for each halving by the stem: below, details are lost."""
THIN = 1.5
"""Pixels that remain of the foreground's width after the stem, at least."""


@dataclass(frozen=True)
class Shape:
    """Holds the choices, and their reasons by dotted key."""

    widths: list[int]
    stem: int
    strides: list[list[int]]
    """Stride of each axis below each level."""
    multiple: list[int]
    """Pixels along each axis that the lowest level sees as one."""
    patch: list[int] | None
    """None for whole images."""
    batch: int
    patches: int
    """Patches of an image in an epoch."""
    steps: int
    """Optimizer steps that the time is enough for, about."""
    reasons: dict[str, str]

    @property
    def is_isotropic(self) -> bool:
        """Tell whether every level halves every axis."""
        return all(set(each) == {2} for each in self.strides)

    def seconds(self, pixels: float, machine: Machine, channels: int) -> float:
        """Estimate the seconds of a training on so many pixels."""
        each = operations(self.widths, self.stem, self.strides, channels, len(self.strides[0]))
        return 3.0 * pixels * each / (machine.gflops * 1e9)


def operations(widths: Sequence[int], stem: int, strides: Sequence[Sequence[int]], channels: int, ndim: int) -> float:
    """Count the operations of a U-Net for each pixel of its input, in a forward pass; backward takes twice as many."""
    kernel, share = 3**ndim, 1.0 / stem**ndim
    first = channels * stem**ndim
    total, shares = 0.0, []
    for level, (below, here) in enumerate(pairwise([first, *widths])):
        if level:
            share /= prod(strides[level - 1])
        shares.append(share)
        total += share * kernel * (below * here + here * here)
    for (here, deep), share in zip(pairwise(widths), shares, strict=False):
        total += share * (kernel * 3 * here * here + deep * here)
    return 2.0 * total


def shaped(
    measures: Measures, machine: Machine, seconds: float, *, least_levels: int = 3, room: Room | None = None
) -> Shape:
    """Choose network, patch and batch for images of these sizes, this machine, this time, and a memory."""
    size = [int(each) for each in measures.sizes.median]
    stem, stem_reason = _stem(measures, size, machine)
    strides = _strides(measures, size, stem, least_levels)
    multiple = [stem * prod(each[axis] for each in strides) for axis in range(measures.ndim)]
    patch, patch_reason = _patch(measures, size, stem, multiple, machine)
    if room is not None and room.patch is not None:
        patch, patch_reason = list(room.patch), room.patch_reason or patch_reason
    seen = prod(patch or size)
    batch = _batch(seen / stem**measures.ndim, machine) if room is None else room.batch
    patches = _patches(measures, size, patch, batch)
    widths, steps, width_reason = _widths(
        measures, machine, seconds, stem, strides, seen * batch, room.narrower if room is not None else 0
    )
    deep = "x".join(str(each) for each in multiple)
    reasons = {
        "model.depths": f"{width_reason}; {len(widths)} levels, so that the lowest sees {deep} pixels as one"
        + _object_words(measures),
        "data.patch_size": patch_reason,
        "data.batch_size": f"{seen * batch:,} pixels a step are enough for a steady gradient on {machine.words}",
        "data.patches_per_image": f"they cover each image, in epochs of {_epoch(measures, patches, batch)} steps",
    }
    if stem > 1:
        reasons["model.stem_stride"] = stem_reason
    if any(set(each) != {2} for each in strides):
        reasons["model.strides"] = _stride_words(measures)
    return Shape(widths, stem, strides, multiple, patch, batch, patches, steps, reasons)


def _stem(measures: Measures, size: list[int], machine: Machine) -> tuple[int, str]:
    """Choose the stride of the stem: large images whose structures survive it are seen at a lower resolution."""
    short = min(size)
    if measures.ndim == 3:
        return 1, ""
    if measures.is_scene:
        stem = 2 if short >= SHORT // 2 and not machine.is_gpu else 1
        return (
            stem,
            "a scene is read from its context: at half the resolution, a step of the same time sees four times as much",
        )
    room = short / (SHORT * (3 if machine.is_gpu else 1))
    width = measures.objects.width if measures.objects is not None else 0.0
    stem = 1
    while 2 * stem <= min(room, width / THIN):
        stem *= 2
    return stem, (
        f"images of {short} pixels and structures {width:.0f} pixels wide: enough is left of them at 1/{stem}, and a "
        f"step costs 1/{stem**2}; the mask keeps the full resolution"
    )


def _strides(measures: Measures, size: list[int], stem: int, least: int) -> list[list[int]]:
    """Choose the stride of each axis below each level."""
    if measures.ndim == 2:
        halvings = 0
        while stem * 2 ** (halvings + 1) <= _reach(measures, stem) and min(size) >= 8 * stem * 2 ** (halvings + 1):
            halvings += 1
        return [[2, 2]] * max(halvings, least - 1)
    return _volume_strides(list(measures.spacing or (1.0,) * 3), size)


def _reach(measures: Measures, stem: int) -> float:
    """Choose how many pixels the lowest level sees as one: a fair part of an object, 8 to 16 pixels after the stem."""
    if measures.is_scene:
        return 16.0 * stem
    diameter = measures.objects.median_diameter if measures.objects is not None else 48.0
    return max(8.0 * stem, min(diameter / 2.5, 16.0 * stem))


def _volume_strides(spacing: list[float], size: list[int]) -> list[list[int]]:
    """Halve an axis only while its voxels are not much longer than the shortest, and while it has voxels left.

    Paper: Isensee et al., "nnU-Net", Nature Methods 18, 2021, https://arxiv.org/abs/1904.08128: an axis is halved if
    its spacing is less than twice the smallest.
    """
    spacing, left = list(spacing), [float(each) for each in size]
    strides: list[list[int]] = []
    while len(strides) < 4:
        finest = min(each for each, have in zip(spacing, left, strict=True) if have >= 8.0) if max(left) >= 8.0 else 0.0
        stride = [2 if have >= 8.0 and each < 2.0 * finest else 1 for each, have in zip(spacing, left, strict=True)]
        if max(stride) == 1:
            break
        strides.append(stride)
        spacing = [each * by for each, by in zip(spacing, stride, strict=True)]
        left = [have / by for have, by in zip(left, stride, strict=True)]
    return strides or [[2, 2, 2]]


def _patch(
    measures: Measures, size: list[int], stem: int, multiple: list[int], machine: Machine
) -> tuple[list[int] | None, str]:
    """Choose the size of the patches; None for whole images."""
    if measures.ndim == 3:
        spacing = measures.spacing or (1.0,) * 3
        sides = [CUBE[machine.is_gpu] * min(spacing) / each for each in spacing]
        if measures.sizes.is_single and prod(size) <= prod(sides):
            return None, ""
    else:
        side = SIDE[machine.is_gpu] * (1.0 if stem == 1 else 5.0 * stem / 6.0)
        if measures.objects is not None and stem == 1:
            side = max(side, min(6.0 * measures.objects.median_diameter, 1.5 * side))
        sides = [side, side]
        if measures.is_scene:
            sides = [0.8 * each for each in size]
        elif measures.sizes.is_single and max(size) <= 1.2 * side:
            return None, ""
    rounded = [
        max(int(min(side, have) / by + 0.01) * by, by) for side, have, by in zip(sides, size, multiple, strict=True)
    ]
    whole = "x".join(map(str, size))
    return rounded, f"as much of an image of {whole} as {machine.words} can learn from in a step"


def _batch(seen: float, machine: Machine) -> int:
    """Choose the number of patches of a step."""
    most = 16 if machine.is_gpu else 4
    return max(2, min(most, int(PIXELS[machine.is_gpu] / seen)))


def _patches(measures: Measures, size: list[int], patch: list[int] | None, batch: int) -> int:
    """Choose the number of patches of an image in an epoch: they cover it, and an epoch has some steps."""
    if patch is None:
        return 1
    covering = max(1, min(16, round(prod(size) / prod(patch))))
    few = -(-20 * batch // max(measures.counts.get("train", 1), 1))
    return max(covering, min(few, 8))


def _epoch(measures: Measures, patches: int, batch: int) -> int:
    return -(-measures.counts.get("train", 1) * patches // batch)


def _widths(
    measures: Measures,
    machine: Machine,
    seconds: float,
    stem: int,
    strides: list[list[int]],
    pixels: int,
    narrower: int,
) -> tuple[list[int], int, str]:
    """Choose the widest network that still takes enough steps in the time, of those that the memory has room for."""
    for base in BASES[measures.ndim][narrower:]:
        widths = [min(base * 2**level, WIDEST[machine.is_gpu]) for level in range(len(strides) + 1)]
        each = 3.0 * pixels * operations(widths, stem, strides, measures.channels, measures.ndim)
        steps = int(SHARE * seconds * machine.gflops * 1e9 / each)
        if steps >= STEPS:
            break
    words = f"{widths[0]} channels at first, for about {steps:,} steps on {machine.words}"
    if widths[0] < BASES[measures.ndim][0] and narrower:
        words += ", whose memory has no room for a wider network"
    return widths, max(steps, 1), words


def _object_words(measures: Measures) -> str:
    if measures.objects is None:
        return ""
    return f" (objects are {measures.objects.median_diameter:.0f} pixels large)"


def _stride_words(measures: Measures) -> str:
    spacing = " x ".join(f"{each:g}" for each in measures.spacing or ())
    sizes = "x".join(f"{each:g}" for each in measures.sizes.median)
    return f"voxels of {spacing} mm, volumes of {sizes}: an axis is halved only where its voxels are short enough"

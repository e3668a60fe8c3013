"""Faults of the slices of samples, found from headers and names: sizes, bits, and slices without a partner."""

from collections.abc import Iterator
from pathlib import Path

from segcli.core.errors import DataError
from segcli.data.checks import Finding
from segcli.data.samples import Case
from segcli.data.slice_names import gaps, keys_of, listed, partner_fault
from segcli.data.slices import SliceStacks, Stack, scale_between

__all__ = ["mask_faults", "mixed_bits", "sample_faults", "unreadable"]

SAME_SIZE = "export the mask at the size of its raw volume"


def sample_faults(stacks: SliceStacks, raw: Path, mask: Path, *, needed: bool) -> Iterator[Finding]:
    """Find the faults of a sample.

    Args:
        stacks: Reader of the headers.
        raw: Folder or file of the slices.
        mask: That of the mask, which may be missing.
        needed: Whether the mask is used.
    """
    there = mask.exists()
    for kind, place in (("image", raw), *([("label", mask)] if there else [])):
        yield from _own_faults(kind, place, stacks.of(place))
    image = stacks.of(raw)
    if image.mixed is not None:
        yield Finding("slices_of_mixed_bits", "error", raw, image.mixed.message, image.mixed.hint or "")
    yield from _gaps(raw, image, stacks.of(mask) if there else None)
    if there and len(set(image.sizes)) == 1 and not (image.faults or stacks.of(mask).faults):
        yield from mask_faults(stacks, raw, mask, image.size)
    elif needed and not there:
        message = f"sample `{raw.parent}` has no mask (looked for `{mask}`)"
        yield Finding("missing_label", "error", raw.parent, message, "add the mask, or set `apply_mask: false`")


def unreadable(case: Case, error: DataError, image: Stack, *, needs_mask: bool) -> list[Finding]:
    """Report a crop that cannot be read, unless headers show why: slices of different size, or a missing mask."""
    if len(set(image.sizes)) > 1 or (needs_mask and case.label is None):
        return []
    return [Finding("unreadable_image", "error", case.image, error.message, error.hint or "")]


def _own_faults(kind: str, place: Path, stack: Stack) -> Iterator[Finding]:
    for fault in stack.faults:
        yield Finding(f"unreadable_{kind}", "error", place, fault.message, fault.hint or "")
    if not stack.planes and not stack.faults:
        message = f"`{place}` holds no slices"
        yield Finding("no_slices", "error", place, message, "files end in .tif or .tiff")
    for plane, size in zip(stack.planes, stack.sizes, strict=True):
        if size != stack.sizes[0]:
            first = stack.planes[0].file
            message = f"slice `{plane.file}` is {_by_axes(size)}, but `{first}` is {_by_axes(stack.sizes[0])}"
            hint = "export all slices at one size"
            yield Finding("size_mismatch", "error", plane.file, message, hint, (first,))


def mask_faults(stacks: SliceStacks, raw: Path, mask: Path, size: tuple[int, ...]) -> Iterator[Finding]:
    """Find the faults that keep a mask from lying on its raw volume of a size."""
    image, label = stacks.of(raw), stacks.of(mask)
    for fault in label.faults:
        yield Finding("unreadable_label", "error", mask, fault.message, fault.hint or "")
    if label.faults or len(set(label.sizes)) != 1:
        return
    without_partner = list(_partners(raw, image, mask, label))
    yield from without_partner
    same_plane = label.size[1:] == size[1:]
    if label.size != size and not (without_partner and same_plane):
        yield Finding("mask_mismatch", "error", mask, _mask_misfit(mask, label.size, raw, size), SAME_SIZE, (raw,))


def _partners(raw: Path, image: Stack, mask: Path, label: Stack) -> Iterator[Finding]:
    """Find slices without a partner; one file of all slices is paired with a folder by position."""
    ours, theirs = image.counts, label.counts
    if not all(raw_or_mask.is_dir() for raw_or_mask in (raw, mask)) or min(len(ours), len(theirs)) < 1:
        return
    if len(ours) != len(theirs) and min(len(ours), len(theirs)) == 1:
        return
    fault = partner_fault(list(ours), list(theirs))
    if fault is not None:
        yield Finding("slices_without_partner", "error", raw, fault.message, fault.hint or "", (mask,))
        return
    for (one, count), (other, more) in zip(ours.items(), theirs.items(), strict=True):
        if count != more:
            message = f"mask `{other}` has {more} slices, but its raw file `{one}` has {count}"
            yield Finding("mask_mismatch", "error", other, message, SAME_SIZE, (one,))


def _gaps(raw: Path, image: Stack, label: Stack | None) -> Iterator[Finding]:
    """Find numbers that neither the slices nor the slices of the mask have."""
    keys = keys_of(list(image.counts)) if len(image.counts) == len(image.planes) > 2 else None
    if keys is None:
        return
    others = set(keys_of(list(label.counts)) or ()) if label is not None and label.counts else set()
    missing = [(number,) for number in gaps(keys) if (number,) not in others]
    if missing:
        what = f"slices {listed(missing)} are" if len(missing) > 1 else f"slice {listed(missing)} is"
        message = f"{what} missing in `{raw}` (numbers {listed(keys[:1])} to {listed(keys[-1:])})"
        hint = "restore it: slices that seem to be neighbours have a larger distance; or renumber the slices"
        yield Finding("missing_slices", "warning", raw, message, hint)


def mixed_bits(root: Path, samples: dict[str, Stack]) -> Iterator[Finding]:
    """Find samples whose bits differ, such as 8 and 16."""
    by_bits: dict[int, list[str]] = {}
    for name, stack in samples.items():
        for bits in set(stack.bits) if stack.mixed is None else ():  # a mixed sample is an error of its own
            by_bits.setdefault(bits, []).append(name)
    if len(by_bits) > 1:
        shown = " and ".join(
            f"{len(names)} with {bits} bits (such as `{names[0]}`)" for bits, names in sorted(by_bits.items())
        )
        scale = scale_between(min(by_bits), max(by_bits))
        message = f"samples differ in their bits: {shown}; their scales differ by {scale}"
        yield Finding("mixed_bits", "warning", root, message, "export all samples with the same number of bits")


def _by_axes(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _mask_misfit(mask: Path, size: tuple[int, ...], raw: Path, raw_size: tuple[int, ...]) -> str:
    if size[0] != raw_size[0]:
        return f"mask `{mask}` has {size[0]} slices, but its raw volume `{raw}` has {raw_size[0]}"
    return f"mask `{mask}` is {_by_axes(size)} voxels, but its raw volume `{raw}` is {_by_axes(raw_size)}"

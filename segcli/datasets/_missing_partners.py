"""Images in folders that lack their mask or their field of view."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from segcli.data.checks import Finding
from segcli.data.samples import Case
from segcli.datasets._pictures import unread_by_stem, way_to_mask

__all__ = ["all_of", "missing_partners"]

Suffix = str | Sequence[str]


def missing_partners(
    cases: Sequence[Case],
    masks: Path,
    affixes: tuple[str, Suffix],
    read: tuple[Sequence[str], str],
    fields: tuple[Path, str, Suffix] | None,
    *,
    key: str = "label_suffix",
) -> Iterator[Finding]:
    """Find images without a mask, or without a field-of-view mask.

    Args:
        cases: The images.
        masks: Folder of the masks.
        affixes: Prefix and suffixes of the masks.
        read: Extensions of the masks, and the key that names them.
        fields: Folder, prefix and suffixes of the field-of-view masks; None if there are none.
        key: Key that names the suffixes of the masks.
    """
    prefix, suffix = affixes
    extensions, extension_key = read
    lacking = any(case.label is None for case in cases) and masks.is_dir()
    unread = unread_by_stem(masks, extensions, {case.image for case in cases}) if lacking else {}
    for case in cases:
        if case.label is None:
            inner, slash, end = all_of(suffix)[0].rpartition("/")
            stem = f"{inner}{slash}{prefix}{case.id}{end}"
            hint = f"add the mask or remove the image; `label_folder` and `{key}` are keys of the data-set file"
            yield Finding(
                "missing_label",
                "error",
                case.image,
                f"image `{case.image}` has no mask (looked for `{masks / stem}.*`)",
                way_to_mask(unread.get(stem), hint, extension_key),
            )
        if fields is not None and case.fov is None:
            folder, begin, ends = fields
            yield Finding(
                "missing_fov",
                "error",
                case.image,
                f"image `{case.image}` has no field-of-view mask (looked for "
                f"`{folder / f'{begin}{case.id}{all_of(ends)[0]}.*'}`)",
                "add the mask, or remove `fov_folder` from the data-set file",
            )


def all_of(suffix: Suffix) -> list[str]:
    """Return a suffix, or several, as a list."""
    return [suffix] if isinstance(suffix, str) else list(suffix)

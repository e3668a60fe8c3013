"""File extensions of all formats, found without importing the formats."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.core.registry import FILES

__all__ = ["Stated", "ending_of", "endings", "misfit", "other_volume", "stated_formats", "stem_of"]

FOR_NIBABEL = (".mgz", ".mgh", ".mnc", ".nii.bz2", ".nii.zst")
FOR_ITK = (".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".hdr.gz", ".img", ".img.gz", ".gipl", ".gipl.gz")
ONE_SLICE = (".dcm", ".ima", ".dicom")


@dataclass(frozen=True)
class Stated:
    """Holds the literal values that a format states."""

    name: str
    endings: tuple[str, ...] = ()
    listed: tuple[str, ...] | None = None
    axes: tuple[int, ...] = (2,)
    is_folder: bool = False
    holds_many: bool = False

    @property
    def taken(self) -> tuple[str, ...]:
        """Return the extensions of files to take from a folder."""
        if self.is_folder:
            return ()
        return self.endings if self.listed is None else self.listed


@cache
def stated_formats() -> tuple[Stated, ...]:
    """Read the values that each format states."""
    return tuple(Stated(name, **_plain_values(Path(__file__).parent / f"{name}.py")) for name in FILES.names())


def _plain_values(file: Path) -> dict[str, Any]:
    """Read the plain attributes of the format in a file without importing it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    (kind,) = (node for node in kinds if any(ast.unparse(base) == "FileFormat" for base in node.bases))
    pairs = ((node.targets[0], node.value) for node in kind.body if isinstance(node, ast.Assign))
    fields = Stated.__dataclass_fields__.keys()
    return {
        name.id: ast.literal_eval(value) for name, value in pairs if isinstance(name, ast.Name) and name.id in fields
    }


def endings(ndim: int, *, many: bool = True) -> tuple[str, ...]:
    """List the extensions, in lower case, of files to take from a folder of images with `ndim` axes.

    Args:
        ndim: Spatial axes.
        many: Include formats with many images in a file.
    """
    formats = (each for each in stated_formats() if ndim in each.axes and (many or not each.holds_many))
    return tuple(ending for each in formats for ending in each.taken)


def ending_of(path: Path) -> str:
    """Return the extension that decides the format, in lower case; `.nii.gz` counts as one.

    Example:
        >>> ending_of(Path("case_01.NII.gz"))
        '.nii.gz'
    """
    name = path.name.lower()
    at = name.find(".")
    while at >= 0:  # the longest ending first
        if name[at:] in _all_endings():
            return name[at:]
        at = name.find(".", at + 1)
    return path.suffix.lower()


@cache
def _all_endings() -> frozenset[str]:
    return frozenset(ending for each in stated_formats() for ending in each.endings)


def stem_of(path: Path) -> str:
    """Return a name without the extension of its format; a folder without such an extension keeps its name."""
    ending = ending_of(path)
    is_plain_folder = path.is_dir() and not any(ending in each.endings for each in stated_formats())
    return path.name[: -len(ending)] if ending and not is_plain_folder else path.name


def other_volume(path: Path) -> str | None:
    """Say what to do with a volume of a format that is not read; None for other files.

    Example:
        >>> other_volume(Path("ct.nrrd"))
        "convert it to NIfTI: `SimpleITK.WriteImage(SimpleITK.ReadImage('ct.nrrd'), 'NAME.nii.gz')`"
    """
    name = path.name.lower()
    if name.endswith(FOR_NIBABEL):
        return f"convert it to NIfTI: `nibabel.save(nibabel.load('{path.name}'), 'NAME.nii.gz')`"
    if name.endswith(FOR_ITK):
        return f"convert it to NIfTI: `SimpleITK.WriteImage(SimpleITK.ReadImage('{path.name}'), 'NAME.nii.gz')`"
    if name.endswith(ONE_SLICE):
        return "`segcli predict` takes the folder of a DICOM series; `dcm2niix` converts it to NIfTI"
    return None


def misfit(path: Path, ndim: int) -> DataError:
    """Say that no reader of images with `ndim` axes opens a file, and which files are read."""
    known = ", ".join(endings(ndim))
    if ndim == 2:
        hint = f"a 2D model takes images that end in {known}; volumes need a 3D model"
        return DataError(f"`{path}` is a volume, not an image", hint=hint)
    hint = other_volume(path) or f"volumes end in {known}; 2D images need a 2D model"
    return DataError(f"`{path}` is not a volume that can be read", hint=hint)

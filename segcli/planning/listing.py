"""List the files of a folder by the folders that hold them, without opening one."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.platform import is_link
from segcli.data.images import EXTENSIONS, natural_key
from segcli.datasets._pictures import ON_REQUEST
from segcli.files import ending_of
from segcli.planning.elsewhere import FOLLOW

__all__ = ["Listing", "listed"]

PICTURES = frozenset((*(f".{each}" for each in EXTENSIONS), *ON_REQUEST))
NIFTI = (".nii", ".nii.gz")
HDF5 = (".h5", ".hdf5", ".hdf")
TABLES = (".csv", ".tsv")
MOST = 2_000_000
"""Files above this number are no data set of images that can be listed at once."""


@dataclass(frozen=True)
class Listing:
    """Holds the files of a folder by the relative name of the folder that holds them, such as `train/image`."""

    root: Path
    folders: dict[str, list[Path]] = field(default_factory=dict)
    """Files in natural order; `.` is the folder itself. Hidden files are left out."""
    outside: tuple[Path, ...] = ()
    """Links to folders elsewhere, which were not followed."""

    def ending(self, *endings: str) -> dict[str, list[Path]]:
        """Find the files with one of these extensions, by folder; folders without such files are left out."""
        found = {name: [file for file in files if ending_of(file) in endings] for name, files in self.folders.items()}
        return {name: files for name, files in found.items() if files}

    @cached_property
    def pictures(self) -> dict[str, list[Path]]:
        """Return the 2D images by folder."""
        return self.ending(*PICTURES)

    @cached_property
    def volumes(self) -> dict[str, list[Path]]:
        """Return the NIfTI files by folder."""
        return self.ending(*NIFTI)

    @cached_property
    def hdf5(self) -> dict[str, list[Path]]:
        """Return the HDF5 files by folder."""
        return self.ending(*HDF5)

    @property
    def tables(self) -> list[Path]:
        """Return the tables in the folder itself."""
        return self.ending(*TABLES).get(".", [])

    @property
    def texts(self) -> list[Path]:
        """Return the lists in the folder itself and below it, such as `splits/train.txt`."""
        found = self.ending(".txt", ".lst", *TABLES)
        return [file for name in sorted(found, key=lambda name: name.count("/")) for file in found[name]]

    def below(self, name: str) -> "Listing":
        """List a folder of this folder as a whole of its own."""
        inside = {
            "." if each == name else each[len(name) + 1 :]: files
            for each, files in self.folders.items()
            if each == name or each.startswith(f"{name}/")
        }
        return Listing(self.root / name, inside, self.outside)

    @property
    def children(self) -> list[str]:
        """Return the folders that lie directly in the folder, in natural order, with files somewhere below."""
        names = dict.fromkeys(name.split("/")[0] for name in self.folders if name != ".")
        return sorted(names, key=lambda name: natural_key(Path(name)))


def listed(root: Path, *, follow: bool = False) -> Listing:
    """List a folder; while it holds nothing but one folder, that folder is listed instead.

    Args:
        root: The folder.
        follow: Follow links to folders elsewhere.

    Raises:
        DataError: There is no such folder, it holds no files, or it cannot be read.
    """
    try:
        is_folder, exists = root.is_dir(), root.exists()
    except OSError as error:
        raise DataError(
            f"cannot read the folder `{shown(root)}` ({error.strerror})", hint="grant rights to read it"
        ) from None
    if not is_folder:
        what = "is a file, not a folder" if exists else "does not exist"
        raise DataError(f"`{shown(root)}` {what}", hint="name the folder that holds the images and masks")
    folders, outside = _walked(root, follow=follow)
    if not folders and outside:
        raise DataError(
            f"`{shown(root)}` holds nothing but links to other folders, such as `{outside[0].name}`",
            hint=f"name the folder that a link leads to, or {FOLLOW}",
        )
    if not folders:
        raise DataError(f"`{shown(root)}` holds no files", hint="name the folder that holds the images and masks")
    ordered = sorted(folders, key=lambda name: natural_key(Path(name.replace("/", "\0"))))
    found = Listing(root, {name: folders[name] for name in ordered}, () if follow else outside)
    return found.below(found.children[0]) if "." not in folders and len(found.children) == 1 else found


def _walked(root: Path, *, follow: bool) -> tuple[dict[str, list[Path]], tuple[Path, ...]]:
    """List the files below a folder by folder, and the links to folders elsewhere."""
    folders: dict[str, list[Path]] = {}
    outside: list[Path] = []
    count, targets, here = 0, set[Path](), Path(os.path.realpath(root))

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder `{error.filename}` ({error.strerror})", hint="grant rights to read it")

    for place, names, files in os.walk(root, onerror=refuse, followlinks=follow):
        names[:] = [name for name in names if not name.startswith((".", "__MACOSX"))]
        for link in [path for name in names if is_link(path := Path(place, name))]:
            target = Path(os.path.realpath(link))
            is_inside = target.is_relative_to(here)
            if not is_inside:
                outside.append(link)
            if is_inside or target in targets or here.is_relative_to(target):
                names.remove(link.name)  # it is listed where it is, or its folders would never end
            targets.add(target)
        kept = [Path(place, name) for name in files if not name.startswith(".")]
        count += len(kept)
        if count > MOST:
            raise DataError(f"`{shown(root)}` holds more than {MOST:,} files", hint="name the folder of one data set")
        if kept:
            folders[Path(place).relative_to(root).as_posix()] = sorted(kept, key=natural_key)
    return folders, tuple(outside)

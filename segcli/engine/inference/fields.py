"""Field of view of each image: from a mask or from the photograph, by one rule for evaluation and prediction."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.data.checks import size_mismatch
from segcli.data.field_of_view import Field, estimated, read_field
from segcli.data.images import EXTENSIONS, natural_key
from segcli.datasets import Layout

__all__ = ["Fields"]

Read = Callable[[tuple[slice, ...]], Array]
MOST_NAMED = 3
"""Largest number of photographs without a field that the warning names."""


class Fields:
    """Finds the field of view of each image.

    A mask in `folder` comes first, then the mask in `fov_folder` of the run's own data set, then `inference.fov`.

    Args:
        layout: Layout of the run's data set.
        setting: `inference.fov`.
        folder: Folder of masks that are named as the images, with the `fov_suffix` of the data set.
        keeps: Keep each field, because images are asked for again, as in each validation.

    Raises:
        DataError: The folder is missing or has no mask.
    """

    def __init__(
        self,
        layout: Layout,
        setting: Literal["auto", "none"] | None,
        folder: Path | None = None,
        *,
        keeps: bool = True,
    ) -> None:
        self.layout, self.setting, self.folder, self.keeps = layout, setting, folder, keeps
        self.masks = {} if folder is None else _masks_in(folder)
        self.known: dict[Path, Field | None] = {}
        """Field of each image, if fields are kept."""
        self.sources: dict[Path, str | None] = {}
        """Tells where the field of each image came from."""

    def of(self, image: Path, size: tuple[int, ...], read: Read, mask: Path | None = None) -> Field | None:
        """Find the field of an image; None if nothing is left out.

        Args:
            image: File of the image.
            size: Height and width.
            read: Reads pixels `(*window, C)`.
            mask: Mask of the image in the data set, if known.

        Raises:
            DataError: The mask is missing, unreadable, empty, or of another size.
        """
        if image in self.known:
            return self.known[image]
        field, self.sources[image] = self._found(image, size, read, mask)
        if self.keeps:
            self.known[image] = field
        return field

    def source(self, image: Path) -> str | None:
        """Tell where the field of an image came from: a folder, `estimated`, or `whole image`; None without a field."""
        return self.sources.get(image)

    def join(self, others: Iterable[dict[Path, str | None]], order: Iterable[Path]) -> None:
        """Take over where other processes found the fields of their images, and put all into the order of images."""
        known = {image: source for sources in others for image, source in sources.items()}
        self.sources = {image: known[image] for image in order if image in known}

    def _found(
        self, image: Path, size: tuple[int, ...], read: Read, mask: Path | None
    ) -> tuple[Field | None, str | None]:
        in_dataset = mask or self.layout.field_of(image)
        path = in_dataset if self.folder is None else self._named(image, self.folder)
        if path is not None:
            field = read_field(path, self.layout.page if self.folder is None else None)
            if field.size != size:
                finding = size_mismatch(path, field.size, image, size)
                raise DataError(finding.message, hint=finding.hint)
            return field, f"`{path.parent}`"
        if self.setting != "auto":
            return None, None
        guess = estimated(size, read)
        return guess, ESTIMATED if guess else WHOLE

    def _named(self, image: Path, folder: Path) -> Path:
        """Find the mask of an image in a folder.

        Raises:
            DataError: There is none, or there are two.
        """
        stems = list(dict.fromkeys([*self.layout.field_stems(image), image.stem]))
        named = ([path for path in self.masks.get(stem, []) if not path.samefile(image)] for stem in stems)
        found = next(filter(None, named), [])
        if len(found) > 1:
            names = " and ".join(f"`{path}`" for path in found)
            raise DataError(f"image `{image}` has two field-of-view masks: {names}", hint="remove one of them")
        if not found:
            expected = " or ".join(f"`{folder / stem}.*`" for stem in stems)
            raise DataError(
                f"image `{image}` has no field-of-view mask (looked for {expected})",
                hint="add the mask, or leave `--fov` out",
            )
        return found[0]

    @property
    def files(self) -> list[Path]:
        """List the masks in `folder`."""
        return [path for paths in self.masks.values() for path in paths]

    # ---- messages

    @property
    def summary(self) -> str | None:
        """Tell in one line where the fields came from; None if no image has one."""
        counts = Counter(source for source in self.sources.values() if source is not None)
        estimates = (ESTIMATED, WHOLE)
        parts = [f"{count} from {source}" for source, count in counts.items() if source not in estimates]
        parts += [f"{counts[source]} {source}" for source in estimates if counts[source]]
        return f"field of view: {', '.join(parts)}; masks are empty outside" if parts else None

    @property
    def warning(self) -> str | None:
        """Name the photographs on which no field was found; None if there are none."""
        unsure = [path for path, source in self.sources.items() if source == WHOLE]
        if not unsure:
            return None
        more = f" and {len(unsure) - MOST_NAMED} more" if len(unsure) > MOST_NAMED else ""
        names = ", ".join(f"`{path}`" for path in unsure[:MOST_NAMED])
        return (
            f"{names}{more}: no round field of view on a dark border was found, so nothing is left out; give masks of "
            "the field with `segcli predict --fov FOLDER`"
        )


ESTIMATED, WHOLE = "estimated from the photograph", "not found (whole image)"


def _masks_in(folder: Path) -> dict[str, list[Path]]:
    """Find the masks of a folder by their stem.

    Raises:
        DataError: The folder is missing or has no mask.
    """
    if not folder.is_dir():
        raise DataError(f"no folder `{folder}`", hint="give the folder of the field-of-view masks with `--fov`")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.name[0] != "." and path.suffix.lower().removeprefix(".") in EXTENSIONS:
            found.setdefault(path.stem, []).append(path)
    if not found:
        raise DataError(f"no masks in `{folder}`", hint=f"files end in {', '.join(EXTENSIONS)}")
    return found

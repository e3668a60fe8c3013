"""Images and masks in folders: `<split>/image/*.png` with `<split>/label/*.png` of the same stems.

Other folder names, suffixes (`21_training.tif` with `21_manual1.gif`) and extensions are keys. Splits are folders,
list files, or seeded fractions of one folder. Each case may have a folder: `case_01/image.png`, `case_01/mask.png`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from segcli.core.cached import cached_method
from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.names import composed, existing, fits, without_affixes
from segcli.core.near_paths import folders_in
from segcli.data.checks import Finding, doubles, extra_label, unusable_split
from segcli.data.classes.binary_masks import BinaryMasks
from segcli.data.classes.class_files import JoinedMasks
from segcli.data.classes.class_list import Mistake
from segcli.data.classes.masks import MaskFormat, MaskReader
from segcli.data.draws import group_of
from segcli.data.samples import Case
from segcli.data.settings import DatasetSpec
from segcli.data.split_settings import SplitSettings
from segcli.data.splits import Division, divide
from segcli.datasets._case_folders import files_of_cases, for_each_case, places, share_stars
from segcli.datasets._channel_files import ChannelFiles
from segcli.datasets._class_files import (
    ClassFileKeys,
    ClassFiles,
    first_and_all,
    lacking_classes,
    named_classes,
    unnamed_files,
)
from segcli.datasets._masks_beside import without_masks
from segcli.datasets._missing_partners import all_of, missing_partners
from segcli.datasets._picture_channels import complete_images, same_stems, unused_files, without
from segcli.datasets._pictures import PictureKeys, Pictures, by_stem, endings_of
from segcli.datasets._small import COUNTS, picture
from segcli.files.png import PNG

__all__ = ["ImageFolders"]

WORDS = {"image": "images", "label": "masks", "fov": "field-of-view masks"}


class ImageFolders(Pictures):
    """Reads 2D images with a mask each, binary or of many classes, and optionally a field-of-view mask."""

    class Config(PictureKeys, ClassFileKeys):
        """Defines the keys of `format: image_folders`."""

        image_folder: str = "image"
        """Folder of the images, in the folder of a split (or in `root` for splits by lists or fractions). A `*` stands
        for the folder of each case, or for any part of a name, as in `*/images` or `images/*`."""
        label_folder: str = "label"
        """Folder of the masks; a `*` stands for the same folders as in `image_folder`, or for the same part of their
        names, as in `*_images` and `*_masks`."""
        fov_folder: str | None = None
        """Folder of field-of-view masks. Pixels outside count neither in the loss nor in the metrics, and nothing is
        predicted there."""
        image_prefix: str = ""
        """Begin of the stem of an image that its mask does not have, such as `img_`."""
        label_prefix: str = ""
        """Begin of the stem of a mask, such as `mask_`."""
        fov_prefix: str = ""
        """Begin of the stem of a field-of-view mask."""
        image_suffix: str | list[str] = ""
        """End of the stem of an image that its mask does not have, such as `_training`."""
        label_suffix: str | list[str] = ""
        """End of the stem of a mask, such as `_manual1`."""
        fov_suffix: str | list[str] = ""
        """End of the stem of a field-of-view mask, such as `_training_mask`."""
        channel_suffixes: list[str] = []
        """Ends of the stems of files that hold one channel of an image each, in the order of the channels, such as
        `[_DAPI, _GFP]` or `[_0000, _0001]`. Without it, an image is one file."""
        label_extensions: list[str] | None = None
        """Extensions of masks, such as `[png]` where `01.jpg` and its mask `01.png` lie in one folder; files with other
        `extensions` are then images. Default: those of `extensions`."""
        exclude: list[str] = []
        """Names of images to leave out, with wildcards, such as `['*_overlay']`."""
        outside_fov: Literal["ignore", "background"] = "ignore"
        """Pixels outside the field of view in the loss, of training and of validation. `ignore`: they do not count.
        `background`: they count as background, whatever the mask holds there, so that the network learns that they are
        empty. Metrics and `data stats` count only pixels inside, in both cases."""
        mask_threshold: Annotated[int, Field(ge=0)] | None = None
        """Mask values above this are foreground. Without this key, a mask must hold only 0 and 1, or only 0 and 255."""
        mask_format: MaskFormat = "index"
        """Masks of many classes. `index`: each pixel holds the number of its class. `rgb`: each class has a colour."""
        split: SplitSettings = SplitSettings()
        """Split of the cases into training, validation and test."""

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write boxes and their masks in a folder for each split."""
        for number, (split, count) in enumerate(COUNTS.items()):
            for index in range(count):
                image, mask = picture(1000 * number + index)
                PNG.write(root / split / "image" / f"{index:02d}.png", image, synced=False)
                PNG.write(root / split / "label" / f"{index:02d}.png", mask * np.uint8(255), synced=False)
        return {"num_channels": 3}

    @classmethod
    def elsewhere(cls, values: dict[str, Any], place: Path) -> dict[str, Any]:
        """Take the folder that holds the image and label folders: `place`, or the only such folder in it."""
        common = super().elsewhere(values, place)
        common |= {"exclude": [each for each in values.get("exclude") or [] if "*" in each]}  # single names mean others
        images = str(values.get("image_folder", cls.Config.model_fields["image_folder"].default))
        found = [each for each in (place, *sorted(place.iterdir())) if each.is_dir() and any(places(each, images))]
        found = [place] if place in found else found
        if len(found) != 1:
            what = f"{len(found)} folders with" if found else "no folder with"
            such = f", such as `{shown(found[0])}`" if found else ""
            raise DataError(
                f"`{shown(place)}` has {what} a folder `{images}` of images{such}",
                hint="name one of them" if found else "name the folder that holds it, or set `dataset.image_folder`",
            )
        return {**common, "paths": {"root": found[0], "test": found[0]}, "split": {}}

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.config: ImageFolders.Config = config
        self.channels = ChannelFiles(config.image_prefix, config.channel_suffixes)
        self.classes = ClassFiles(config.label_prefix, config.class_suffixes)
        each = replace(self.joined.each, threshold=config.mask_threshold)
        self.joined = JoinedMasks(each, config.class_overlap)
        for split in ("val", "test"):
            if self._given(split) is not None and config.split.states(split):
                raise DataError(
                    f"data set `{spec.name}`: both `paths.{split}` and `split.{split}` set the images of split "
                    f"`{split}`",
                    hint="remove one of them (`null` on the command line)",
                )

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Find keys that follow from other keys; `outside_fov: background` needs a `fov_folder`."""
        named, faults = named_classes(values, background=len(values.get("class_suffixes") or []) > 1)
        changes, mistakes = super().completed({**values, **named})
        changes, mistakes = named | changes, [*faults, *mistakes]
        if values.get("outside_fov") == "background" and values.get("fov_folder") is None:
            message = "is `background`, and the data set has no `fov_folder`"
            mistakes.append(("outside_fov", message, "set `fov_folder`, or `outside_fov: ignore`"))
        return changes, mistakes

    @property
    def learns_outside(self) -> bool:
        """Tell whether `outside_fov` is `background`."""
        return self.config.outside_fov == "background"

    def reader(self) -> MaskReader | BinaryMasks:
        """Make the reader of the masks; binary masks use `mask_threshold`."""
        config = self.config
        return config.reader(self.spec) if self.spec.num_classes > 1 else BinaryMasks(config.mask_threshold)

    def leading(self, files: Sequence[Path]) -> list[Path]:
        """Return the file of the first channel of each image, without masks that lie beside the images."""
        if self.config.image_folder == self.config.label_folder:
            files = without_masks(files, lambda path: next(iter(self._keys(path)), None), self._key_of_mask)
        return self.channels.leading(files)

    def _key_of_mask(self, path: Path) -> str | None:
        """Return the name of a mask without prefix and suffix; None for what its name does not tell from an image."""
        (suffixes, prefix), masks = self._affixes("label"), self.config.label_extensions
        is_told = suffixes != [""] or prefix or masks or (self.channels.are_several and not self._keys(path))
        if not is_told or (masks is not None and path.suffix.lower() not in endings_of(masks)):
            return None
        return without_affixes(composed(path.stem), prefix, suffixes)

    # ---- finding cases

    def _given(self, split: str) -> Path | None:
        path: Path | None = getattr(self.spec.paths, split)
        return None if path is None else Path(shown(path))

    def _folder(self, split: str) -> Path:
        """Find the folder that holds the image and label folders of a split."""
        given = self._given(split)
        if self.config.split.by == "folders":
            return self._folder("train") if self._is_drawn(split) else given or self.root / split
        return self.root if given is None or split == "train" else given

    def _is_drawn(self, split: str) -> bool:
        """Tell whether the validation images are a share of the training folder."""
        settings = self.config.split
        return settings.by == "folders" and split == "val" and settings.share("val") > 0

    def together(self, case: Case) -> str:
        """Return the group of an image; all images of a group are in one split."""
        return group_of(case.id, self.config.split)

    def has(self, split: str) -> bool:
        """Tell whether the data set has this split: stated, or found in its usual folder."""
        if split == "train" or self._given(split) is not None or self.config.split.states(split):
            return True
        return self.config.split.by == "folders" and (self.root / split).is_dir()

    @cached_method
    def found(self, split: str) -> tuple[list[Case], list[Finding]]:
        """Find the cases of a split with their masks, and the missing files."""
        config, folder = self.config, self._folder(split)
        images = self._images(split)
        labels = self._kept(self._files(folder, "label", split))
        if self.channels.are_several and config.image_folder == config.label_folder:
            labels = without({path for paths in images.values() for path in paths}, labels)
        fovs: dict[str, list[Path]] = {}
        if config.fov_folder is not None:
            fovs = self._files(folder, "fov", split)
        members = self._in_split(split, list(images))
        complete, lacking = complete_images({key: images[key] for key in members if key in images}, self.channels)
        by_class = self.classes.by_channel(labels) if config.class_suffixes else {"": labels}
        findings = [*lacking, *same_stems(images, self.channels)]
        findings += [finding for files in by_class.values() for finding in doubles(files, "mask")]
        masks, parts = first_and_all(by_class, several=bool(config.class_suffixes))
        fields = {key: paths[0] for key, paths in fovs.items()}
        cases = [
            Case(key, first, masks.get(key), fields.get(key), others=tuple(others), class_files=parts.get(key, ()))
            for key, (first, *others) in complete.items()
        ]
        findings += [*self._missing(cases, folder), *lacking_classes(cases, config)]
        if self.channels.are_several:
            others = {path for files in (labels, fovs) for paths in files.values() for path in paths}
            ends, place = endings_of(config.extensions), existing(folder, config.image_folder)
            findings += unused_files(place, self.channels, ends, others, config.exclude)
        if config.class_suffixes:
            kinds = (self._files(folder, "image", split), self._files(folder, "label", split), fovs)
            ends = endings_of(self._read("label"))
            used = {path for files in kinds for paths in files.values() for path in paths}
            findings += unnamed_files(folder, config.label_folder, self.classes, ends, used, config.exclude)
        if config.split.by == "folders" or config.class_suffixes:
            findings += [
                extra_label(paths[0], existing(folder, config.image_folder))
                for key, paths in labels.items()
                if key not in images
            ]
        if not cases and not lacking:
            place = existing(folder, config.image_folder)
            hint = (
                f"files end in {', '.join(config.extensions)}; `image_folder`, `image_suffix`, "
                "`label_extensions`, `exclude` and `split` are keys of the data-set file"
            )
            message = f"split `{split}` is empty: no images in `{place}`"
            findings.append(Finding("empty_split", "error", place, message, hint))
        return cases, findings

    def compared(self, splits: Sequence[str]) -> Iterator[Finding]:
        """Compare the splits as all pictures do, and report patterns of `exclude` that fit no file."""
        yield from super().compared(splits)
        names: set[str] = set()
        for split in splits if self.config.exclude else ():
            for kind in ("image", "label"):
                with suppress(DataError):  # reported by `inspect`
                    names |= set(self._files(self._folder(split), kind, split))
        for pattern in self.config.exclude:
            if names and not any(fits(name, [pattern]) for name in names):
                message = f"`exclude` names `{pattern}`, which fits no image"
                hint = f"correct it, or remove it; images are named without extension, such as `{min(names)}`"
                yield Finding("unused_pattern", "warning", self.root, message, hint)

    def field_of(self, image: Path) -> Path | None:
        """Find the mask of an image in an `image_folder` with a `fov_folder` beside it, of this data set or a copy."""
        inner, here = Path(self.config.image_folder).parts, image.absolute().parent
        if self.config.fov_folder is None or here.parts[len(here.parts) - len(inner) :] != inner:
            return None
        masks = self._masks_of_fields(Path(*here.parts[: len(here.parts) - len(inner)]) / self.config.fov_folder)
        return next((masks[key][0] for key in self._keys(image) if key in masks), None)

    @cached_method
    def _masks_of_fields(self, folder: Path) -> dict[str, list[Path]]:
        folder = Path(shown(folder))
        return by_stem(folder, self.config.extensions, *self._affixes("fov")) if folder.is_dir() else {}

    def _keys(self, image: Path) -> list[str]:
        """List what may be the name of an image: its stem without the prefix and one of the suffixes."""
        suffixes, prefix = self._affixes("image")
        keys = (without_affixes(image.stem, prefix, [each]) for each in suffixes)
        return [key for key in keys if key is not None]

    def field_stems(self, image: Path) -> list[str]:
        """Replace prefix and suffix of the image by those of its field of view."""
        keys = self._keys(image) or [image.stem]
        return [f"{self.config.fov_prefix}{key}{each}" for key in keys for each in all_of(self.config.fov_suffix)]

    def _images(self, split: str) -> dict[str, list[Path]]:
        """Find the images of a folder by their stem, without masks in the same folder and what `exclude` names."""
        config, folder = self.config, self._folder(split)
        images = self._files(folder, "image", split)
        shared = config.image_folder == config.label_folder
        by_name = config.label_suffix or config.label_prefix or config.label_extensions or config.class_suffixes
        if by_name if shared else for_each_case(config.image_folder):
            labels = self._files(folder, "label", split)
            labelled = {path for paths in labels.values() for path in paths}
            images = without(labelled, images)
        return self._kept(images)

    def _kept(self, files: dict[str, list[Path]]) -> dict[str, list[Path]]:
        """Leave out the names that `exclude` names."""
        return {key: paths for key, paths in files.items() if not fits(key, self.config.exclude)}

    def _files(self, base: Path, kind: str, split: str) -> dict[str, list[Path]]:
        """Find files in the folder of a split by the name of their case; `kind` is image, label or fov."""
        pattern = getattr(self.config, f"{kind}_folder")
        if for_each_case(pattern) and base.is_dir():
            return self._of_places(base, kind)
        folder = existing(base, pattern)
        if not folder.is_dir():
            moved = self._given(split) is None and not self.root.exists()
            key = "root" if moved or self.config.split.by != "folders" else split
            hint = f"set `dataset.paths.{key}`, or the folder's name with `dataset.{kind}_folder`"
            hint += "; `dataset.fov_folder=null` if there are none" if kind == "fov" else ""
            raise self.missing_root() or DataError(
                f"no folder `{folder}` with the {WORDS[kind]} of split `{split}`", hint=hint + folders_in(folder.parent)
            )
        return self._of_folder(folder, kind)

    @cached_method
    def _of_folder(self, folder: Path, kind: str) -> dict[str, list[Path]]:
        """Find the files of a folder, which splits may share."""
        return self._of_kind(folder, kind)

    @cached_method
    def _of_places(self, base: Path, kind: str) -> dict[str, list[Path]]:
        """Find the files of all folders that a pattern stands for, which splits may share."""
        config = self.config
        return files_of_cases(
            base,
            getattr(config, f"{kind}_folder"),
            lambda folder: self._of_kind(folder, kind, with_folders=True),
            whole=share_stars(config.image_folder, config.label_folder, config.fov_folder),
        )

    def _of_kind(self, folder: Path, kind: str, *, with_folders: bool = False) -> dict[str, list[Path]]:
        found = partial(by_stem, with_folders=with_folders)
        if kind == "label" and self.classes.suffixes:
            return self.classes.found(folder, lambda place, *affixes: found(place, self._read(kind), *affixes))
        return found(folder, self._read(kind), *self._affixes(kind))

    def _read(self, kind: str) -> list[str]:
        """Return the extensions of the files of a kind."""
        masks = self.config.label_extensions
        return masks if masks is not None and kind == "label" else self.config.extensions

    def shown(self, case: Case) -> str:
        """Name a case for tables; files of cases with folders may all have one name."""
        return case.id if for_each_case(self.config.image_folder) or case.others else super().shown(case)

    def _affixes(self, kind: str) -> tuple[list[str], str]:
        """Return suffixes and prefix of the files of a kind; of several channels, the longest suffix first."""
        parts = {"image": self.channels, "label": self.classes}.get(kind)
        if parts is not None and parts.suffixes:
            return sorted(parts.suffixes, key=len, reverse=True), parts.prefix
        return all_of(getattr(self.config, f"{kind}_suffix")), getattr(self.config, f"{kind}_prefix")

    def _in_split(self, split: str, keys: list[str]) -> list[str]:
        settings = self.config.split
        if self._folder(split) != self._folder("train") or (settings.by == "folders" and not settings.share("val")):
            return keys
        return self._divided(tuple(keys)).sides[split]

    @cached_method
    def _divided(self, keys: tuple[str, ...]) -> Division:
        """Divide the images of the training folder, once for all splits."""
        return divide(list(keys), self.config.split, self.root, leaves_out=self._leaves_out)

    def _leaves_out(self, name: str) -> bool:
        return fits(name, self.config.exclude)

    def division(self, *, fresh: bool = False) -> Division | None:
        """Return how the images of the training folder were drawn; None if folders or lists decide."""
        settings = self.config.split
        if not settings.draws:
            return None
        return divide(list(self._images("train")), settings, self.root, fresh=fresh, leaves_out=self._leaves_out)

    def _missing(self, cases: list[Case], folder: Path) -> Iterator[Finding]:
        config, fields = self.config, self.config.fov_folder
        key = "extensions" if config.label_extensions is None else "label_extensions"
        return missing_partners(
            cases,
            existing(folder, config.label_folder),
            (config.label_prefix, config.class_suffixes or config.label_suffix),
            (self._read("label"), key),
            None if fields is None else (existing(folder, fields), config.fov_prefix, config.fov_suffix),
            key="class_suffixes" if config.class_suffixes else "label_suffix",
        )

    def unusable(self, split: str, error: DataError) -> Finding:
        """Report a folder that is missing."""
        return unusable_split("missing_folder", self._folder(split), error)

"""Images and masks in folders: `<split>/image/*.png` with `<split>/label/*.png` of the same stems.

Other folder names, suffixes (`21_training.tif` with `21_manual1.gif`) and extensions are keys. Splits are folders,
list files, or seeded fractions of one folder.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.types import Array
from segcli.data.checks import Finding, doubles, extra_label, raise_on_error, size_mismatch, tried
from segcli.data.classes.class_list import Mistake, completed_classes
from segcli.data.classes.masks import MaskFormat, MaskKeys, MaskReader
from segcli.data.conversion import Color, Conversion
from segcli.data.images import EXTENSIONS, Header, natural_key, read_header, read_image, read_labels
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.splits import Division, SplitSettings, divide, group_of
from segcli.datasets import Layout

__all__ = ["ImageFolders"]

TOPS = ({1}, {255}, {65535})
"""What the foreground of a binary mask may be written as, beside 0."""


class ImageFolders(Layout):
    """2D images with a mask each, of one kind or of many classes, and optionally the mask of a field of view."""

    class Config(MaskKeys):
        """Keys of `format: image_folders`."""

        image_folder: str = "image"
        """Folder of the images, within the folder of a split (or within `root` for list and fraction splits)."""
        label_folder: str = "label"
        """Folder of the masks."""
        fov_folder: str | None = None
        """Folder of field-of-view masks; pixels outside count neither in the loss nor in the metrics."""
        image_suffix: str | list[str] = ""
        """End of an image's stem that its partners do not share, such as `_training`."""
        label_suffix: str | list[str] = ""
        """End of a mask's stem, such as `_manual1`."""
        fov_suffix: str | list[str] = ""
        """End of a field-of-view mask's stem, such as `_training_mask`."""
        extensions: Annotated[list[str], Field(min_length=1)] = list(EXTENSIONS)
        """File-name extensions that count as images."""
        color: Color = "as_stored"
        """Convert images: grey to RGB, RGB to grey, or take the green channel. `as_stored` demands `num_channels`."""
        intensity_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
        """Stored values that become 0 and 1, such as `[0, 4095]` for 12 bits; the type's whole range if not given."""
        mask_threshold: Annotated[int, Field(ge=0)] | None = None
        """Mask values above this are foreground; left out, a mask holds nothing but 0 and 1, or 0 and 255."""
        mask_format: MaskFormat = "index"
        """Of many classes. `index`: each pixel holds the number of its class. `rgb`: each class has a colour."""
        split: SplitSettings = SplitSettings()
        """How cases are shared out to training, validation and test."""

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Classes of the CSV, without those that are ignored, and how many they are."""
        return completed_classes(values)

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.config: ImageFolders.Config = config
        self.convert = Conversion(config.color, spec.num_channels, config.intensity_range)
        self.convert.check(spec.name)
        self.classes: MaskReader | None = config.reader(spec) if spec.num_classes > 1 else None
        for split in ("val", "test"):
            if self._given(split) is not None and config.split.states(split):
                raise DataError(
                    f"data set `{spec.name}`: both `paths.{split}` and `split.{split}` say where the images of split "
                    f"`{split}` come from",
                    hint="remove one of them (`null` on the command line)",
                )

    # ---- finding cases

    @property
    def root(self) -> Path:
        """Folder of the whole data set."""
        assert self.spec.paths.root is not None
        return Path(shown(self.spec.paths.root))

    def _given(self, split: str) -> Path | None:
        path: Path | None = getattr(self.spec.paths, split)
        return None if path is None else Path(shown(path))

    def _folder(self, split: str) -> Path:
        """Folder that holds the image and label folders of a split."""
        given = self._given(split)
        if self.config.split.by == "folders":
            return self._folder("train") if self._is_drawn(split) else given or self.root / split
        return self.root if given is None or split == "train" else given

    def _is_drawn(self, split: str) -> bool:
        """Whether the validation images are a share of the training folder."""
        settings = self.config.split
        return settings.by == "folders" and split == "val" and settings.share("val") > 0

    def together(self, case: Case) -> str:
        """Images of a group stay on one side."""
        return group_of(case.id, self.config.split)

    def has(self, split: str) -> bool:
        """Whether the data set has this split: stated, or found where splits usually are."""
        if split == "train" or self._given(split) is not None or self.config.split.states(split):
            return True
        return self.config.split.by == "folders" and (self.root / split).is_dir()

    def cases(self, split: str) -> list[Case]:
        """Cases of a split, in natural order, each with its label."""
        cases, findings = self._partners(split)
        raise_on_error(findings)
        return cases

    def all_cases(self, split: str) -> list[Case]:
        """Cases of a split, those without a label as well."""
        return self._partners(split)[0]

    @cache  # noqa: B019 - a layout lives as long as its run
    def _partners(self, split: str) -> tuple[list[Case], list[Finding]]:
        """Cases with their partner files, and what is missing."""
        config, folder = self.config, self._folder(split)
        images = self._images(split)
        labels = self._files(folder / config.label_folder, config.label_suffix, "masks", split)
        fovs: dict[str, list[Path]] = {}
        if config.fov_folder is not None:
            fovs = self._files(folder / config.fov_folder, config.fov_suffix, "field-of-view masks", split)
        wanted = self._in_split(split, list(images))
        findings = [*doubles(images, "image"), *doubles(labels, "mask")]
        cases = [
            Case(key, images[key][0], labels.get(key, [None])[0], fovs.get(key, [None])[0])
            for key in wanted
            if key in images
        ]
        findings += self._missing(cases, folder)
        if config.split.by == "folders":
            findings += [
                extra_label(paths[0], folder / config.image_folder)
                for key, paths in labels.items()
                if key not in images
            ]
        if not cases:
            findings.append(
                Finding(
                    "empty_split",
                    "error",
                    folder / config.image_folder,
                    f"split `{split}` is empty: no images in `{folder / config.image_folder}`",
                    f"files end in {', '.join(config.extensions)}; `image_folder`, `image_suffix` and `split` are keys "
                    "of the data-set file",
                )
            )
        return cases, findings

    def _images(self, split: str) -> dict[str, list[Path]]:
        """Images of a folder by their stem, masks in the same folder left out."""
        config, folder = self.config, self._folder(split)
        images = self._files(folder / config.image_folder, config.image_suffix, "images", split)
        if config.image_folder != config.label_folder or not config.label_suffix:
            return images
        labels = self._files(folder / config.label_folder, config.label_suffix, "masks", split)
        labelled = {path for paths in labels.values() for path in paths}
        images = {key: [path for path in paths if path not in labelled] for key, paths in images.items()}
        return {key: paths for key, paths in images.items() if paths}

    def _files(self, folder: Path, suffix: str | list[str], what: str, split: str) -> dict[str, list[Path]]:
        """Files of a folder by their stem without the suffix."""
        if not folder.is_dir():
            if self.spec.sample is not None and not self.root.exists():
                raise DataError(
                    f"no folder `{shown(self.root)}` with the sample data",
                    hint=f"make it with `segcli data sample {self.spec.sample} {shown(self.root)}`",
                )
            key = split if self.config.split.by == "folders" else "root"
            raise DataError(
                f"no folder `{folder}` with the {what} of split `{split}`",
                hint=f"set `dataset.paths.{key}`, or the folder's name with `dataset.{_folder_key(what)}`",
            )
        suffixes = [suffix] if isinstance(suffix, str) else suffix
        endings = {f".{extension.lower().lstrip('.')}" for extension in self.config.extensions}
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir(), key=natural_key):
            if path.name.startswith(".") or path.suffix.lower() not in endings:
                continue
            ending = next((end for end in suffixes if path.stem.endswith(end)), None)
            if ending is not None:
                found.setdefault(path.stem[: len(path.stem) - len(ending)], []).append(path)
        return found

    def _in_split(self, split: str, keys: list[str]) -> list[str]:
        settings = self.config.split
        if self._folder(split) != self._folder("train") or (settings.by == "folders" and not settings.share("val")):
            return keys
        return divide(keys, settings, self.root).sides[split]

    def division(self, *, fresh: bool = False) -> Division | None:
        """How the images of the training folder were drawn; None where folders or lists decide."""
        settings = self.config.split
        return divide(list(self._images("train")), settings, self.root, fresh=fresh) if settings.draws else None

    def _missing(self, cases: list[Case], folder: Path) -> Iterator[Finding]:
        config = self.config
        for case in cases:
            if case.label is None:
                expected = folder / config.label_folder / f"{case.id}{_first(config.label_suffix)}.*"
                yield Finding(
                    "missing_label",
                    "error",
                    case.image,
                    f"image `{case.image}` has no mask (looked for `{expected}`)",
                    "add the mask or take the image away; `label_folder`, `label_suffix` are keys of the data-set file",
                )
            if config.fov_folder is not None and case.fov is None:
                expected = folder / config.fov_folder / f"{case.id}{_first(config.fov_suffix)}.*"
                yield Finding(
                    "missing_fov",
                    "error",
                    case.image,
                    f"image `{case.image}` has no field-of-view mask (looked for `{expected}`)",
                    "add the mask, or remove `fov_folder` from the data-set file",
                )

    # ---- reading

    def size(self, case: Case) -> tuple[int, ...]:
        """Height and width as stored."""
        return self.header(case.image).size

    @cache  # noqa: B019 - a layout lives as long as its run
    def header(self, path: Path) -> Header:
        """Header of a file, read once."""
        return read_header(path)

    def read(self, case: Case) -> Sample:
        """Decode image, mask and field of view, all of one size."""
        image = self.convert(read_image(case.image), case.image)
        maps = {} if case.label is None else self._maps(case.label)
        if case.fov is not None:
            maps["valid"] = _inside(_field(case.fov), maps.get("valid"))
        for name, values in maps.items():
            if values.shape != image.shape[:2]:
                path = case.label if name == "mask" else case.fov
                assert path is not None
                finding = size_mismatch(path, values.shape, case.image, image.shape[:2])
                raise DataError(finding.message, hint=finding.mend)
        return Sample(image=image, maps=maps)

    def converted(self, pixels: Array, path: Path) -> Array:
        """As `color` and `intensity_range` say."""
        return self.convert(pixels, path)

    def read_input(self, path: Path) -> Sample:
        """Decode one image by itself."""
        return Sample(image=self.convert(read_image(path), path))

    def as_stored(self, answer: Array) -> Array:
        """Of many classes, numbers or colours as in the data set's own masks."""
        return answer if self.classes is None else self.classes.written(answer)

    def _maps(self, path: Path) -> dict[str, Array]:
        """`mask`, and of many classes `valid`, where pixels may be ignored."""
        if self.classes is not None:
            return self.classes.read(path)
        return {"mask": self._mask(read_labels(path), path)}

    def _mask(self, labels: Array, path: Path) -> Array:
        """Mask of 0 and 1."""
        if self.config.mask_threshold is not None:
            return (labels > self.config.mask_threshold).astype(np.uint8)
        values, counts = np.unique(labels, return_counts=True)
        if not any({int(value) for value in values} - {0} <= top for top in TOPS):
            raise DataError(_unexpected(path, values, counts), hint=VALUES_MEND)
        return (labels > 0).astype(np.uint8)

    # ---- checks

    def inspect(self, split: str) -> Iterator[Finding]:
        """Faults of a split that show without decoding: partners, headers, sizes, channels."""
        try:
            cases, findings = self._partners(split)
        except DataError as error:
            yield Finding("missing_folder", "error", self._folder(split), error.message, error.hint or "")
            return
        yield from findings
        for case in cases:
            yield from self._inspect_headers(case)

    def _inspect_headers(self, case: Case) -> Iterator[Finding]:
        headers = {}
        for kind, path in (("image", case.image), ("label", case.label), ("fov", case.fov)):
            try:
                headers[kind] = None if path is None else self.header(path)
            except DataError as error:
                yield Finding(f"unreadable_{kind}", "error", path, error.message, error.hint or "")
        image = headers.get("image")
        if image is None:
            return
        yield from self.convert.inspect(image, case.image)
        for kind, path in (("label", case.label), ("fov", case.fov)):
            header = headers.get(kind)
            if header is not None and path is not None and header.size != image.size:
                yield size_mismatch(path, header.size, case.image, image.size)

    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode image, mask and field of view each by itself, and look at what they hold."""
        findings: list[Finding] = []
        image = tried(findings, "unreadable_image", case.image, lambda path: self._examine_image(path, findings))
        maps = self._examine_label(case.label, findings)
        field = tried(findings, "unreadable_fov", case.fov, _field)
        if image is None:
            return None, findings
        fitting = {name: values for name, values in maps.items() if values.shape == image.shape[:2]}
        if field is not None and field.shape == image.shape[:2]:
            fitting["valid"] = _inside(field, fitting.get("valid"))
        return Sample(image=image, maps=fitting), findings

    def _examine_image(self, path: Path, findings: list[Finding]) -> Array:
        stored = read_image(path)
        image = self.convert(stored, path)
        findings += self.convert.examine(stored, path)
        return image

    def _examine_label(self, path: Path | None, findings: list[Finding]) -> dict[str, Array]:
        if path is not None and self.classes is not None:
            maps, found = self.classes.examine(path)
            findings += found
            return maps
        labels = tried(findings, "unreadable_label", path, read_labels)
        if path is None or labels is None:
            return {}
        mask = tried(findings, "unexpected_values", path, lambda path: self._mask(labels, path))
        if mask is not None and not mask.any():
            message, mend = f"mask `{path}` is empty", "make sure that nothing is there"
            findings.append(Finding("empty_mask", "warning", path, message, mend))
        elif mask is not None and mask.all():
            message, mend = f"mask `{path}` is foreground throughout", "make sure that 0 is the background"
            findings.append(Finding("full_mask", "warning", path, message, mend))
        return {} if mask is None else {"mask": mask}


VALUES_MEND = (
    "write 0 for background and 255 (or 1) for foreground, or set `mask_threshold: 127` in the data-set file if the "
    "values between come from JPEG or smoothing"
)


def _field(path: Path) -> Array:
    """Field of view of 0 and 1, from the middle grey on where the mask is soft."""
    field = read_labels(path)
    return (field > (127 if field.max(initial=0) > 1 else 0)).astype(np.uint8)


def _inside(field: Array, valid: Array | None) -> Array:
    """Where both count: inside the field of view, and of a class that is not ignored."""
    return field if valid is None or valid.shape != field.shape else field * valid


def _folder_key(what: str) -> str:
    return {"images": "image_folder", "masks": "label_folder"}.get(what, "fov_folder")


def _first(suffix: str | list[str]) -> str:
    return suffix if isinstance(suffix, str) else suffix[0]


def _unexpected(path: Path, values: Array, counts: Array) -> str:
    order = np.argsort(-counts)
    shown = ", ".join(f"{values[index]} ({counts[index]} pixels)" for index in order[:5])
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return f"mask `{path}` holds {len(values)} values, a mask has two: {shown}{more}"

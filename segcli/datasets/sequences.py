"""Frames of videos in one folder each: `Images/Video_000/0001.png` with `Labels/Video_000/0001.png`.

Masks are painted in the colours of their classes, or hold the number of the class in each pixel. Splits keep whole
sequences together unless frames are asked for.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from segcli.core.errors import DataError
from segcli.core.files import shown
from segcli.core.types import Array
from segcli.data.checks import Finding, doubles, extra_label, raise_on_error, size_mismatch, tried
from segcli.data.classes.class_list import Mistake, completed_classes
from segcli.data.classes.masks import MaskFormat, MaskKeys
from segcli.data.conversion import Color, Conversion
from segcli.data.images import EXTENSIONS, Header, natural_key, read_header, read_image
from segcli.data.samples import Case, Sample
from segcli.data.settings import DatasetSpec
from segcli.data.splits import Division, SequenceSplit, divide
from segcli.datasets import Layout

__all__ = ["Sequences"]


class Sequences(Layout):
    """Frames of street scenes and other videos, with masks of many classes."""

    class Config(MaskKeys):
        """Keys of `format: sequences`."""

        images: str = "Images"
        """Folder with one folder of images for each sequence."""
        labels: str = "Labels"
        """Folder with one folder of masks for each sequence; stems are those of the images."""
        include: Annotated[list[str], Field(min_length=1)] = ["*"]
        """Sequences that belong to the data set, by name or pattern such as `Video_00*`."""
        exclude: list[str] = []
        """Sequences that do not, by name or pattern."""
        extensions: Annotated[list[str], Field(min_length=1)] = list(EXTENSIONS)
        """File-name extensions that count as images and masks."""
        color: Color = "as_stored"
        """Convert images: grey to RGB, RGB to grey, or take the green channel. `as_stored` demands `num_channels`."""
        intensity_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
        """Stored values that become 0 and 1; the type's whole range if not given."""
        mask_format: MaskFormat = "rgb"
        """`rgb`: each class has a colour. `index`: each pixel holds the number of its class."""
        split: SequenceSplit = SequenceSplit()
        """How sequences are shared out to training, validation and test."""

    keeps_split = True

    @classmethod
    def completed(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
        """Classes of the CSV, without those that are ignored, and how many they are."""
        return completed_classes(values)

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.config: Sequences.Config = config
        self.convert = Conversion(config.color, spec.num_channels, config.intensity_range)
        self.convert.check(spec.name)
        self.masks = config.reader(spec)
        for split in ("train", "val", "test"):
            if getattr(spec.paths, split) is not None:
                raise DataError(
                    f"data set `{spec.name}`: `paths.{split}` is no key of format `sequences`, whose sequences all lie "
                    "in `paths.root`",
                    hint=f"name the sequences in `split.{split}`",
                )

    # ---- finding cases

    @property
    def root(self) -> Path:
        """Folder of the whole data set."""
        assert self.spec.paths.root is not None
        return Path(shown(self.spec.paths.root))

    @cached_property
    def names(self) -> list[str]:
        """Sequences that take part, in natural order.

        Raises:
            DataError: There is none, or `include` or `exclude` names one that is not there.
        """
        folder = self.root / self.config.images
        if not folder.is_dir():
            if self.spec.sample is not None and not self.root.exists():
                raise DataError(
                    f"no folder `{shown(self.root)}` with the sample data",
                    hint=f"make it with `segcli data sample {self.spec.sample} {shown(self.root)}`",
                )
            raise DataError(
                f"no folder `{folder}` with the images",
                hint="set `dataset.paths.root`, or the folder's name with `dataset.images`",
            )
        there = [path.name for path in sorted(folder.iterdir(), key=natural_key) if path.is_dir()]
        there = [name for name in there if not name.startswith(".")]
        if not there:
            raise DataError(
                f"no sequences in `{folder}`", hint="each sequence is a folder of its own, such as `Video_000`"
            )
        for key, patterns in (("include", self.config.include), ("exclude", self.config.exclude)):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in there):
                    raise DataError(
                        f"`{key}` names `{pattern}`, and there is no such sequence in `{folder}`",
                        hint=f"there are {', '.join(there[:8])}{' ...' * (len(there) > 8)}",
                    )
        taken = [name for name in there if any(fnmatchcase(name, pattern) for pattern in self.config.include)]
        taken = [name for name in taken if not any(fnmatchcase(name, pattern) for pattern in self.config.exclude)]
        if not taken:
            raise DataError("`include` and `exclude` together leave no sequence", hint="mend the data-set file")
        return taken

    @cached_property
    def _found(self) -> tuple[dict[str, Case], list[Finding]]:
        """Every frame by its name, and what is missing."""
        cases: dict[str, Case] = {}
        findings: list[Finding] = []
        for name in self.names:
            folder, masks = self.root / self.config.images / name, self.root / self.config.labels / name
            images, labels = self._files(folder), self._files(masks)
            findings += [*doubles(images, "image"), *doubles(labels, "mask")]
            findings += [extra_label(paths[0], folder) for stem, paths in labels.items() if stem not in images]
            if not images:
                findings.append(_empty(folder, self.config.extensions))
            if images and not masks.is_dir():
                findings.append(_without_masks(name, masks))
            for stem, paths in images.items():
                case = Case(f"{name}/{stem}", paths[0], labels.get(stem, [None])[0])
                cases[case.id] = case
                if case.label is None and masks.is_dir():
                    findings.append(_without_mask(case, masks / f"{stem}.*"))
        return cases, findings

    def _files(self, folder: Path) -> dict[str, list[Path]]:
        """Files of a folder by their stem."""
        endings = {f".{extension.lower().lstrip('.')}" for extension in self.config.extensions}
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir(), key=natural_key) if folder.is_dir() else ():
            if path.suffix.lower() in endings and not path.name.startswith("."):
                found.setdefault(path.stem, []).append(path)
        return found

    @cache  # noqa: B019 - a layout lives as long as its run
    def division(self, *, fresh: bool = False) -> Division:
        """How sequences or frames were shared out."""
        settings = self.config.split
        names = self.names if settings.by == "sequence" else list(self._found[0])
        return divide(names, settings, self.root, fresh=fresh)

    def together(self, case: Case) -> str:
        """Frames of a sequence stay on one side, unless frames are shared out."""
        return _sequence(case) if self.config.split.by == "sequence" else case.id

    def has(self, split: str) -> bool:
        """Whether the data set has this split: named, drawn, or in the split file."""
        return self.config.split.gives(split, self.division)

    def cases(self, split: str) -> list[Case]:
        """Frames of a split, in natural order, each with its mask."""
        raise_on_error(self._findings(split))
        return self.all_cases(split)

    def all_cases(self, split: str) -> list[Case]:
        """Frames of a split, those without a mask as well."""
        side, frames = set(self.division().sides[split]), self._found[0]
        if self.config.split.by == "frame":
            return [case for name, case in frames.items() if name in side]
        return [case for case in frames.values() if _sequence(case) in side]

    def _findings(self, split: str) -> list[Finding]:
        """What is missing in the sequences of a split."""
        cases = self.all_cases(split)
        sequences = {_sequence(case) for case in cases} | set(self.division().sides[split])
        findings = [finding for finding in self._found[1] if finding.file and _concerns(finding.file, sequences)]
        if not cases:
            message = f"split `{split}` is empty: no frames in `{self.root / self.config.images}` belong to it"
            findings.append(Finding("empty_split", "error", self.root, message, "look at `split` and `include`"))
        return findings

    # ---- reading

    def size(self, case: Case) -> tuple[int, ...]:
        """Height and width as stored."""
        return self.header(case.image).size

    @cache  # noqa: B019 - a layout lives as long as its run
    def header(self, path: Path) -> Header:
        """Header of a file, read once."""
        return read_header(path)

    def read(self, case: Case) -> Sample:
        """Decode image and mask, both of one size."""
        image = self.convert(read_image(case.image), case.image)
        if case.label is None:
            return Sample(image=image)
        maps = self.masks.read(case.label)
        if maps["mask"].shape != image.shape[:2]:
            finding = size_mismatch(case.label, maps["mask"].shape, case.image, image.shape[:2])
            raise DataError(finding.message, hint=finding.mend)
        return Sample(image=image, maps=maps)

    def as_stored(self, answer: Array) -> Array:
        """Class indices as colours, or as the numbers of the data set."""
        return self.masks.written(answer)

    def converted(self, pixels: Array, path: Path) -> Array:
        """As `color` and `intensity_range` say."""
        return self.convert(pixels, path)

    def read_input(self, path: Path) -> Sample:
        """Decode one image by itself."""
        return Sample(image=self.convert(read_image(path), path))

    # ---- checks

    def inspect(self, split: str) -> Iterator[Finding]:
        """Faults of a split that show without decoding: partners, headers, sizes, sequences on two sides."""
        try:
            cases, findings = self.all_cases(split), self._findings(split)
        except DataError as error:
            yield Finding("unusable_data", "error", self.root, error.message, error.hint or "")
            return
        yield from findings
        yield from self._divided_sequences(split)
        for case in cases:
            yield from self._inspect_headers(case)

    def _divided_sequences(self, split: str) -> Iterator[Finding]:
        """Sequences of this split that have frames in a later one too."""
        order = ["train", "val", "test"]
        mine = {_sequence(case) for case in self.all_cases(split)}
        for other in order[order.index(split) + 1 :]:
            both = [name for name in self.names if name in mine & {_sequence(case) for case in self.all_cases(other)}]
            if both:
                told = f"{len(both)} sequences, such as `{both[0]}`, have" if len(both) > 1 else f"`{both[0]}` has"
                yield Finding(
                    "sequence_in_two_splits",
                    "warning",
                    self.root / self.config.images / both[0],
                    f"{told} frames in the splits `{split}` and `{other}`, which look alike: results will be too good",
                    "set `split.by: sequence`",
                )

    def _inspect_headers(self, case: Case) -> Iterator[Finding]:
        headers: dict[str, Header] = {}
        for kind, path in (("image", case.image), ("label", case.label)):
            try:
                if path is not None:
                    headers[kind] = self.header(path)
            except DataError as error:
                yield Finding(f"unreadable_{kind}", "error", path, error.message, error.hint or "")
        image, label = headers.get("image"), headers.get("label")
        if image is not None:
            yield from self.convert.inspect(image, case.image)
        if image is not None and label is not None and case.label is not None and label.size != image.size:
            yield size_mismatch(case.label, label.size, case.image, image.size)

    def examine(self, case: Case) -> tuple[Sample | None, list[Finding]]:
        """Decode image and mask each by itself, and look at what they hold."""
        findings: list[Finding] = []
        image = tried(findings, "unreadable_image", case.image, lambda path: self._examine_image(path, findings))
        maps: dict[str, Array] = {}
        if case.label is not None:
            maps, found = self.masks.examine(case.label)
            findings += found
        if image is None:
            return None, findings
        return Sample(image, {name: each for name, each in maps.items() if each.shape == image.shape[:2]}), findings

    def _examine_image(self, path: Path, findings: list[Finding]) -> Array:
        stored = read_image(path)
        image = self.convert(stored, path)
        findings += self.convert.examine(stored, path)
        return image


def _sequence(case: Case) -> str:
    return case.id.rpartition("/")[0]


def _concerns(path: Path, sequences: set[str]) -> bool:
    """Whether a file, or the folder of a sequence, belongs to one of the sequences."""
    return path.parent.name in sequences or path.name in sequences


def _empty(folder: Path, extensions: list[str]) -> Finding:
    message = f"sequence `{folder}` has no images"
    return Finding("empty_sequence", "error", folder, message, f"files end in {', '.join(extensions)}; or `exclude` it")


def _without_masks(name: str, folder: Path) -> Finding:
    message = f"sequence `{name}` has no folder `{folder}` with its masks"
    return Finding("missing_labels", "error", folder, message, "add it, `exclude` the sequence, or set `labels`")


def _without_mask(case: Case, expected: Path) -> Finding:
    message = f"image `{case.image}` has no mask (looked for `{expected}`)"
    mend = "add the mask or take the image away; `labels` is a key of the data-set file"
    return Finding("missing_label", "error", case.image, message, mend)

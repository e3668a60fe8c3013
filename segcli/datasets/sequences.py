"""Frames of videos, one folder per sequence: `Images/Video_000/0001.png` with `Labels/Video_000/0001.png`.

Each pixel of a mask has the colour or the number of its class. Splits keep sequences together, except with
`split.by: frame`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from segcli.core.cached import cached_method
from segcli.core.errors import DataError
from segcli.core.names import composed, existing, fits
from segcli.core.near_paths import folders_in
from segcli.data.checks import Finding, by_name, doubles, extra_label
from segcli.data.classes.masks import MaskFormat, MaskReader
from segcli.data.samples import Case
from segcli.data.settings import DatasetSpec
from segcli.data.split_settings import SequenceSplit
from segcli.data.splits import Division, divide
from segcli.datasets._pictures import PictureKeys, Pictures, by_stem, unread_by_stem, way_to_mask
from segcli.datasets._small import COUNTS, picture
from segcli.files.png import PNG

__all__ = ["Sequences"]


class Sequences(Pictures):
    """Reads frames of street scenes and other videos, with masks of many classes."""

    class Config(PictureKeys):
        """Defines the keys of `format: sequences`."""

        images: str = "Images"
        """Folder with one folder of images for each sequence."""
        labels: str = "Labels"
        """Folder with one folder of masks for each sequence; masks have the stems of their images."""
        include: Annotated[list[str], Field(min_length=1)] = ["*"]
        """Sequences to use, by name or pattern such as `Video_00*`."""
        exclude: list[str] = []
        """Sequences to leave out, by name or pattern."""
        mask_format: MaskFormat = "rgb"
        """`rgb`: each class has a colour. `index`: each pixel holds the number of its class."""
        split: SequenceSplit = SequenceSplit()
        """Split of the sequences into training, validation and test."""

    keeps_split = True
    selecting = ("include", "exclude")

    @classmethod
    def write_small(cls, root: Path) -> dict[str, Any]:
        """Write a sequence for each split, with two classes and a void corner."""
        colors = {"road": [128, 64, 128], "car": [64, 0, 128], "void": [0, 0, 0]}
        for number, count in enumerate(COUNTS.values()):
            for index in range(count):
                image, mask = picture(1000 * number + index)
                mask[-3:, -6:] = 2
                place = Path(f"Video_{number:03d}", f"{index + 1:04d}.png")
                PNG.write(root / "Images" / place, image, synced=False)
                PNG.write(root / "Labels" / place, np.array(list(colors.values()), np.uint8)[mask], synced=False)
        classes = [{"name": name, "color": color} for name, color in colors.items()]
        split = {split: [f"Video_{number:03d}"] for number, split in enumerate(COUNTS)}
        return {"num_channels": 3, "classes": classes, "ignore": ["void"], "split": split}

    def __init__(self, config: Config, spec: DatasetSpec) -> None:
        super().__init__(config, spec)
        self.config: Sequences.Config = config
        for split in ("train", "val", "test"):
            if getattr(spec.paths, split) is not None:
                raise DataError(
                    f"data set `{spec.name}`: format `sequences` has no key `paths.{split}`: all sequences are "
                    "in `paths.root`",
                    hint=f"name the sequences in `split.{split}`",
                )

    def reader(self) -> MaskReader:
        """Make the reader of the masks, which always have many classes."""
        return replace(self.config.reader(self.spec), may_be_binary=False)

    # ---- finding cases

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """Find the folder of each sequence by its name in normal form.

        Raises:
            DataError: Two folders have the same name.
        """
        return by_name(path for path in existing(self.root, self.config.images).iterdir() if path.is_dir())

    @cached_property
    def names(self) -> list[str]:
        """List the sequences to use, in natural order.

        Raises:
            DataError: There are no sequences, or `include` or `exclude` names a missing one.
        """
        folder = existing(self.root, self.config.images)
        if not folder.is_dir():
            raise self.missing_root() or DataError(
                f"no folder `{folder}` with the images",
                hint=f"set `dataset.paths.root`, or the folder's name with `dataset.images`{folders_in(self.root)}",
            )
        there = list(self._folders)
        if not there:
            raise DataError(
                f"no sequences in `{folder}`", hint="each sequence is a folder of its own, such as `Video_000`"
            )
        for key, patterns in (("include", self.config.include), ("exclude", self.config.exclude)):
            for pattern in patterns:
                if not any(fits(name, [pattern]) for name in there):
                    raise DataError(
                        f"`{key}` names `{pattern}`, but there is no such sequence in `{folder}`",
                        hint=f"sequences: {', '.join(there[:8])}{' ...' * (len(there) > 8)}",
                    )
        taken = [name for name in there if fits(name, self.config.include)]
        taken = [name for name in taken if not fits(name, self.config.exclude)]
        if not taken:
            raise DataError(
                "`include` and `exclude` together leave no sequence", hint="correct these keys in the data-set file"
            )
        return taken

    @cached_property
    def _all(self) -> tuple[dict[str, Case], list[Finding]]:
        """Find every frame by its name, and all missing files."""
        cases: dict[str, Case] = {}
        findings: list[Finding] = []
        for name in self.names:
            folder, masks = self._folders[name], existing(self.root, f"{self.config.labels}/{name}")
            images, labels = self._files(folder), self._files(masks)
            findings += [*doubles(images, "image"), *doubles(labels, "mask")]
            findings += [extra_label(paths[0], folder) for stem, paths in labels.items() if stem not in images]
            if not images:
                findings.append(_empty(folder, self.config.extensions))
            if images and not masks.is_dir():
                findings.append(_without_masks(name, masks))
            lacks_mask = masks.is_dir() and not images.keys() <= labels.keys()
            unread = unread_by_stem(masks, self.config.extensions) if lacks_mask else {}
            for stem, paths in images.items():
                case = Case(f"{name}/{stem}", paths[0], labels.get(stem, [None])[0])
                cases[case.id] = case
                if case.label is None and masks.is_dir():
                    findings.append(_without_mask(case, masks / f"{stem}.*", unread.get(stem)))
        return cases, findings

    def _files(self, folder: Path) -> dict[str, list[Path]]:
        return by_stem(folder, self.config.extensions) if folder.is_dir() else {}

    @cached_method
    def division(self, *, fresh: bool = False) -> Division:
        """Return how sequences or frames were split."""
        settings = self.config.split
        frames = self._all[0].values()
        if settings.by == "frame":
            names = [case.id for case in frames]
            return divide(names, settings, self.root, fresh=fresh, leaves_out=self._leaves_out)
        counts = Counter(_sequence(case) for case in frames)
        images = {name: counts[name] for name in self.names}
        return divide(self.names, settings, self.root, fresh=fresh, images=images, leaves_out=self._leaves_out)

    def _leaves_out(self, name: str) -> bool:
        """Tell whether `include` and `exclude` leave out a sequence, or the sequence of a frame, that is there."""
        sequence = name if self.config.split.by == "sequence" else name.rpartition("/")[0]
        return sequence in self._folders and sequence not in self.names

    def together(self, case: Case) -> str:
        """Return the sequence of a frame, which stays in one split; with `split.by: frame`, the frame itself."""
        return _sequence(case) if self.config.split.by == "sequence" else case.id

    def has(self, split: str) -> bool:
        """Tell whether the data set has this split: named, drawn, or in the split file."""
        return self.config.split.gives(split, self.division)

    @cached_method
    def found(self, split: str) -> tuple[list[Case], list[Finding]]:
        """Find the frames of a split, and the missing files of its sequences."""
        cases = self._frames(split)
        sequences = {_sequence(case) for case in cases} | set(self.division().sides[split])
        findings = [finding for finding in self._all[1] if finding.file and _concerns(finding.file, sequences)]
        if not cases:
            message = f"split `{split}` is empty: no frames in `{existing(self.root, self.config.images)}` belong to it"
            findings.append(Finding("empty_split", "error", self.root, message, self._way_to_cases(split)))
        return cases, [*findings, *self._divided_sequences(split)]

    def _way_to_cases(self, split: str) -> str:
        """Advise on a split without frames: a drawn split has sequences that `include` and `exclude` may leave out."""
        division = self.division()
        if not division.kept:
            return "check `split` and `include`"
        there = [name for name, side in division.known().items() if side == split]
        return f"let `include` and `exclude` leave one of {', '.join(there[:4])}{' ...' * (len(there) > 4)}"

    def _frames(self, split: str) -> list[Case]:
        side, frames = set(self.division().sides[split]), self._all[0]
        if self.config.split.by == "frame":
            return [case for name, case in frames.items() if name in side]
        return [case for case in frames.values() if _sequence(case) in side]

    def _divided_sequences(self, split: str) -> Iterator[Finding]:
        """Find sequences of this split that also have frames in a later split."""
        order = ["train", "val", "test"]
        mine = {_sequence(case) for case in self._frames(split)}
        for other in order[order.index(split) + 1 :]:
            both = [name for name in self.names if name in mine & {_sequence(case) for case in self._frames(other)}]
            if both:
                subject = f"{len(both)} sequences, such as `{both[0]}`, have" if len(both) > 1 else f"`{both[0]}` has"
                yield Finding(
                    "sequence_in_two_splits",
                    "warning",
                    self._folders[both[0]],
                    f"{subject} similar frames in the splits `{split}` and `{other}`: results will be too good",
                    "set `split.by: sequence`",
                )


def _sequence(case: Case) -> str:
    return case.id.rpartition("/")[0]


def _concerns(path: Path, sequences: set[str]) -> bool:
    """Tell whether a file, or the folder of a sequence, belongs to one of the sequences."""
    return composed(path.parent.name) in sequences or composed(path.name) in sequences


def _empty(folder: Path, extensions: list[str]) -> Finding:
    message = f"sequence `{folder}` has no images"
    return Finding("empty_sequence", "error", folder, message, f"files end in {', '.join(extensions)}; or `exclude` it")


def _without_masks(name: str, folder: Path) -> Finding:
    message = f"sequence `{name}` has no folder `{folder}` with its masks"
    return Finding(
        "missing_labels", "error", folder, message, "add the folder, `exclude` the sequence, or set `labels`"
    )


def _without_mask(case: Case, expected: Path, unread: Path | None) -> Finding:
    message = f"image `{case.image}` has no mask (looked for `{expected}`)"
    hint = "add the mask or remove the image; `labels` is a key of the data-set file"
    return Finding("missing_label", "error", case.image, message, way_to_mask(unread, hint))

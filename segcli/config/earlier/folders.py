"""Make the keys of the data set out of old folders, splits and classes."""

from pathlib import PurePosixPath
from typing import Any

from segcli.config.earlier.work import Remark, Work

__all__ = ["combine_folders"]

SIDES = ("train", "val", "test")


def combine_folders(work: Work) -> None:
    """Find root, folders, splits and classes of the data set."""
    _place(work)
    _pairs(work)
    _volumes(work)
    _table(work)
    _below_root(work)
    _root(work)
    _split(work)
    if work.pipeline.format == "sequences":
        _classes(work)
    if not work.ours.get("dataset.paths.root"):
        work.ask("dataset.paths.root", "the folder of the data is not stated; set it")


def _place(work: Work) -> None:
    """Read `dataset`: a folder, or a name."""
    place = work.fact("place")
    if isinstance(place, str) and ("/" in place or "\\" in place):
        work.ours.setdefault("dataset.paths.root", place.replace("\\", "/"))
    elif place is not None:
        work.ours["dataset.name"] = str(place)


def _pairs(work: Work) -> None:
    """Read a folder of images and a folder of masks: for each split, or for all images."""
    sequences = work.pipeline.format == "sequences"
    keys = ("dataset.images", "dataset.labels") if sequences else ("dataset.image_folder", "dataset.label_folder")
    for side in (*SIDES, "all"):
        images, masks = work.fact(f"images.{side}"), work.fact(f"masks.{side}")
        if images is None and masks is None:
            continue
        if images is None or masks is None:
            work.ask(
                keys[images is not None], f"the folder of the {'images' if images is None else 'masks'} is missing"
            )
            continue
        root = work.ours.get("dataset.paths.root")
        if side == "all" and root is not None and not PurePosixPath(images).is_absolute() and ":" not in images:
            above, names = root, (images.removeprefix(f"{root}/"), masks.removeprefix(f"{root}/"))
        else:
            above, names = _common(images, masks)
        if above is None:
            work.ask(keys[0], f"`{images}` and `{masks}` have no folder in common; link both into one folder", images)
            continue
        work.ours["dataset.paths.root" if side == "all" else f"dataset.paths.{side}"] = above
        for key, name in zip(keys, names, strict=True):
            if work.ours.get(key, name) != name:
                work.ask(key, f"`{name}` in `{side}`, but `{work.ours[key]}` elsewhere: give them one name", name)
            work.ours.setdefault(key, name)


def _common(images: str, masks: str) -> tuple[str | None, tuple[str, str]]:
    """Find the folder above both, and the rest of each path."""
    one, other = PurePosixPath(images), PurePosixPath(masks)
    for above in (one, *one.parents):
        if other.is_relative_to(above) and str(above) not in {"/", "//"}:
            return str(above), (str(one.relative_to(above)), str(other.relative_to(above)))
    return None, (images, masks)


def _volumes(work: Work) -> None:
    """Read the folder of `train.h5`, `val.h5` and `test.h5`."""
    found = {work.fact(f"root.{side}") for side in SIDES} - {None}
    if len(found) == 1:
        work.ours.setdefault("dataset.paths.root", found.pop())
    elif found:
        work.ask("dataset.paths.root", f"the files lie in {', '.join(sorted(found))}; put them into one folder")


def _table(work: Work) -> None:
    """Read the path of the table of classes, which lies in the root."""
    table = work.fact("csv")
    if table is None:
        return
    folder, _, name = table.rpartition("/")
    root = work.ours.setdefault("dataset.paths.root", folder or None)
    if root is None:
        del work.ours["dataset.paths.root"]
    work.ours["dataset.classes_csv"] = name
    if folder and root is not None and folder.rstrip("/") != str(root).rstrip("/"):
        work.ask("dataset.classes_csv", f"the table must lie in `{root}`: copy `{table}` there", table)


def _below_root(work: Work) -> None:
    """Put names of folders without a slash below the root."""
    root = work.ours.get("dataset.paths.root")
    for side in SIDES:
        given = work.ours.get(f"dataset.paths.{side}")
        if root is not None and isinstance(given, str) and "/" not in given:
            work.ours[f"dataset.paths.{side}"] = f"{str(root).rstrip('/')}/{given}"


def _root(work: Work) -> None:
    """Take the folder above those of the splits, if no root is stated."""
    stated = [work.ours.get(f"dataset.paths.{side}") for side in SIDES]
    given = [each for each in stated if isinstance(each, str)]
    if given and "dataset.paths.root" not in work.ours:
        above: str | None = given[0]
        for other in given[1:]:
            above = None if above is None else _common(above, other)[0]
        if above is None:
            return
        work.ours["dataset.paths.root"] = above if len(set(given)) > 1 else str(PurePosixPath(above).parent)


def _split(work: Work) -> None:
    train, val, test = work.fact("train_share"), work.ours.get("dataset.split.val"), work.ours.get("dataset.split.test")
    if train is not None and val is None:
        rest = round(1.0 - train - (test if isinstance(test, float) else 0.0), 6)
        work.ask("dataset.split.val", f"{rest:g} was taken: what `train` and `test` leave", train)
        val = work.ours["dataset.split.val"] = rest
    if work.pipeline.format != "image_folders":
        return
    by_folders = any(work.ours.get(f"dataset.paths.{side}") for side in SIDES)
    if not by_folders and (val is not None or test is not None):
        work.ours["dataset.split.by"] = "fraction"
    elif by_folders and test is not None:
        work.drop("dataset.split.test", "the test images have a folder")
    if by_folders and val is not None and work.ours.get("dataset.paths.val"):
        work.drop("dataset.split.val", "the validation images have a folder")
    if not by_folders and val is None and "dataset.image_folder" in work.ours:
        work.ask("dataset.split", "how the images are split is not stated; set `{by: fraction, val: 0.2, test: 0.1}`")


def _classes(work: Work) -> None:
    """Join names and colours of classes, and name those that are ignored."""
    colours, names, ignored = work.fact("colors"), work.fact("names"), work.fact("ignored")
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=lambda key: (len(str(key)), str(key)))]
    if colours is not None:
        labels = names if isinstance(names, list) and len(names) == len(colours) else None
        if labels is None:
            labels = [f"class_{number}" for number in range(len(colours))]
            work.ask("dataset.classes", f"{len(colours)} colours without as many names; `class_0` and so on were taken")
        pairs = zip(labels, colours, strict=True)
        work.ours["dataset.classes"] = [{"name": str(name), "color": colour} for name, colour in pairs]
    classes: list[Any] = work.ours.get("dataset.classes", [])
    if not classes and "dataset.classes_file" not in work.ours:
        work.ask("dataset.classes", "names and colours of the classes are not stated; set `classes` or `classes_file`")
    for entry in ignored or []:
        known = [each["name"] for each in classes]
        if isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < len(known):
            work.ours.setdefault("dataset.ignore", []).append(known[entry])
        elif isinstance(entry, str):
            work.ours.setdefault("dataset.ignore", []).append(entry)
        else:
            work.ask("dataset.ignore", "no class has this number; name the class that is left out", entry)
    count, ignored_names = work.fact("num_classes"), work.ours.get("dataset.ignore", [])
    if count is None:
        return
    if not classes or count in (len(classes), len(classes) - len(ignored_names)):
        work.left_out.append(Remark(work.source["~num_classes"], count, "the number follows from the classes"))
    else:
        work.ask("dataset.classes", f"{len(classes)} classes are listed, but the old file states {count}", count)

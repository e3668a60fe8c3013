"""Keys of the pipeline for street scenes: paths of Windows, masks painted in colours, class weights."""

import re
from typing import Any

from segcli.config.earlier import names
from segcli.config.earlier.flips import FLIPS
from segcli.config.earlier.row import Asked, LeftOut, Pipeline, Row, Sets, Undecided
from segcli.config.earlier.values import amount, number, path, switch, words
from segcli.core.registry import same_name

__all__ = ["SCENES"]

SCHEMES = {
    "none": "none",
    "false": "none",
    "inverse": "inverse",
    "inversefrequency": "inverse",
    "balanced": "inverse",
    "medianfrequency": "median_frequency",
    "medianfrequencybalancing": "median_frequency",
    "mfb": "median_frequency",
    "effectivenumber": "effective_number",
    "effective": "effective_number",
    "classbalanced": "effective_number",
}


def _class_weights(value: Any, asked: Asked) -> Any:
    """Read weights as a list, by name of the class, or the way to compute them."""
    if isinstance(value, dict):
        classes = asked.other("class_names", "classes", "data.class_names", "data.classes")
        if not isinstance(classes, list) or not all(str(name) in value for name in classes):
            raise Undecided("weights by name: write them as a list, in the order of the classes")
        return [number(value[str(name)], asked) for name in classes]
    if isinstance(value, list):
        return [number(entry, asked) for entry in value]
    if value is None or value is False:
        return "none"
    if value is True:
        raise Undecided("`true` does not say how; choose `inverse`, `median_frequency` or `effective_number`")
    scheme = SCHEMES.get(same_name(str(value)))
    if scheme is None:
        raise Undecided(f"`{value}` is no way to compute weights: `inverse`, `median_frequency`, `effective_number`")
    return scheme


def _colour(given: Any) -> list[int]:
    parts = re.split(r"[,\s()\[\]]+", given.strip("()[] ")) if isinstance(given, str) else given
    if not isinstance(parts, list) or len(parts) != 3:
        raise Undecided(f"`{given}` is no colour `[red, green, blue]`")
    try:
        return [int(part) for part in parts]
    except (TypeError, ValueError):
        raise Undecided(f"`{given}` is no colour `[red, green, blue]`") from None


def _color_map(value: Any, asked: Asked) -> Any:
    """Read colours by name or number of the class, names by colour, or a list of colours."""
    if not value:
        raise Undecided("it names no colour")
    if isinstance(value, list):
        return Sets({"~colors": [_colour(entry) for entry in value]})
    if not isinstance(value, dict):
        raise Undecided("it is no table of colours: write `dataset.classes: [{name: road, color: [128, 64, 128]}]`")
    if all(str(key).isdigit() for key in value):
        return Sets({"~colors": [_colour(value[key]) for key in sorted(value, key=lambda key: int(str(key)))]})
    by_colour = all(re.match(r"^[\[(]?\s*\d+\s*,", str(key)) for key in value)
    pairs = [(str(name), key) for key, name in value.items()] if by_colour else list(value.items())
    return Sets({"dataset.classes": [{"name": str(name), "color": _colour(colour)} for name, colour in pairs]})


def _ignored(value: Any, asked: Asked) -> Any:
    """Read the class that is left out, by name or number."""
    if value is None or value == 255 or str(value) == "-100":
        raise LeftOut("a number outside the classes: masks in colours need `dataset.ignore`, which names classes")
    return Sets({"~ignored": value if isinstance(value, list) else [value]})


SCENES = Pipeline(
    title="Street scenes",
    about="Frames of videos with masks painted in colours, cross entropy with class weights, paths of Windows.",
    format="sequences",
    ndim=2,
    model="deeplabv3_plus",
    signs="deeplab deeplabv3 deeplabv3plus deeplabv3_plus class_weights loss.class_weights color_map class_colors "
    "ignore_index videos train_videos val_videos data.color_map data.class_colors output_stride model.output_stride "
    "force_resplit class_names",
    example=r"python train.py --config configs\camvid.yaml",
    rows=(
        Row(
            "data.root data_dir data_root root_dir data_path dataset_path dataset_root root data.data_dir data.path "
            "data.root_dir data.dataset_path paths.root dataset_dir base_dir data.base_dir paths.data",
            "dataset.paths.root",
            r"`D:\data\streets` becomes `D:/data/streets`",
            path,
        ),
        Row(
            "images_dir image_dir img_dir imgs_dir data.images_dir data.image_dir data.img_dir image_folder "
            "data.image_folder images_path data.images_path images_root paths.images",
            "~images.all",
            "holds a folder for each sequence",
            path,
            keys="dataset.paths.root, dataset.images",
        ),
        Row(
            "masks_dir mask_dir labels_dir label_dir data.masks_dir data.mask_dir data.labels_dir data.label_dir "
            "mask_folder label_folder data.label_folder data.mask_folder labels_path masks_path data.labels_path "
            "paths.labels paths.masks",
            "~masks.all",
            "",
            path,
            keys="dataset.labels",
        ),
        Row(
            "videos sequences video_folders data.videos data.sequences include data.include data.video_list",
            "dataset.include",
            "names or patterns of sequences",
            words,
        ),
        *(
            Row(
                f"{split}_videos {split}_sequences {split}_video {split}_folders data.{split}_videos "
                f"data.{split}_sequences data.{split}_folders {split}_clips split.{split}",
                f"dataset.split.{split}",
                "names of sequences",
                words,
            )
            for split in ("train", "val", "test")
        ),
        Row(
            "val_split val_ratio val_fraction validation_split val_size data.val_split data.val_ratio",
            "dataset.split.val",
            "a share of the sequences, not of the frames",
            number,
        ),
        Row(
            "test_split test_ratio test_fraction test_size data.test_split data.test_ratio",
            "dataset.split.test",
            "a share of the sequences",
            number,
        ),
        Row(
            "train_split train_ratio data.train_split data.train_ratio",
            "~train_share",
            "what is left after `val` and `test`",
            number,
            keys="dataset.split.val",
        ),
        Row("split_seed random_state data.split_seed", "dataset.split.seed", read=amount),
        Row("split_file data.split_file", "dataset.split.split_file", "within the root", path),
        Row("force_resplit data.force_resplit resplit", "dataset.split.force_resplit", read=switch),
        Row("split_by data.split_by split.by", "dataset.split.by", "`sequence` or `frame`"),
        Row(
            "color_map class_colors colors palette data.color_map data.class_colors data.colors data.palette "
            "label_colors class_map color_to_class rgb_to_class data.color_to_class colormap",
            "dataset.classes",
            "colours by name, names by colour, or a list beside `class_names`",
            _color_map,
            mapping=True,
        ),
        Row(
            "class_names classes data.class_names data.classes labels_names",
            "~names",
            "in the order of the colours",
            keys="dataset.classes",
            mapping=True,
        ),
        Row(
            "classes_csv class_dict class_dict_path classes_file data.class_dict data.classes_csv data.class_csv "
            "class_csv",
            "dataset.classes_file",
            "columns `name`, `r`, `g`, `b`",
            path,
        ),
        Row(
            "ignore_index ignore ignore_class ignore_classes void_class data.ignore_index loss.ignore_index "
            "ignore_label data.ignore void_label",
            "dataset.ignore",
            "names of classes; 255 is no class here",
            _ignored,
        ),
        Row(
            "num_classes n_classes out_channels model.num_classes model.n_classes data.num_classes data.n_classes",
            "~num_classes",
            "follows from the classes, without the ignored ones",
            amount,
            keys="none",
        ),
        Row(
            "class_weights loss.class_weights loss.weight class_weight use_class_weights weighting loss.weights "
            "loss.class_weight ce_weights class_weighting",
            "training.loss.cross_entropy.class_weights",
            "a list, or `inverse`, `median_frequency`, `effective_number`",
            _class_weights,
            mapping=True,
        ),
        Row("label_smoothing loss.label_smoothing", "training.loss.cross_entropy.label_smoothing", read=number),
        Row(
            "loss loss.type loss.name criterion loss_fn loss_function loss_type",
            "training.loss",
            "`CrossEntropyLoss` is `cross_entropy`",
            names.loss,
        ),
        Row(
            "backbone model.backbone encoder model.encoder encoder_name model.encoder_name",
            "model.backbone",
            "of `deeplabv3_plus`: resnet18 to resnet101",
        ),
        Row("output_stride model.output_stride os", "model.output_stride", "8 or 16", amount),
        Row("model.activation activation", "model.activation"),
        Row("aspp_channels model.aspp_channels model.decoder_channels", "model.channels", read=amount),
        *FLIPS,
    ),
    loss="cross_entropy",
)
"""Street scenes of a Windows machine."""

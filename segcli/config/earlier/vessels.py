"""Keys of the pipeline for vessels: two levels of YAML, an experiment file that names a data-set file."""

import re
from typing import Any

from segcli.config.earlier.flips import FLIPS
from segcli.config.earlier.row import Asked, LeftOut, Pipeline, Row, Sets
from segcli.config.earlier.values import amount, binary_classes, number, path, size

__all__ = ["FOLDERS", "VESSELS"]


def _extension(value: Any, asked: Asked) -> Sets:
    """Read what stands before the ending of a file; endings alone say nothing new."""
    if isinstance(value, list) or re.fullmatch(r"[.*]*\w+", str(value)):
        raise LeftOut("images and masks are found by their stems, with every ending that is known")
    key = "label_suffix" if any(word in asked.name.lower() for word in ("mask", "label")) else "image_suffix"
    return Sets({f"dataset.{key}": str(value).lstrip("*").rpartition(".")[0] or str(value)})


def _suffix(value: Any, asked: Asked) -> str:
    return str(value).rpartition(".")[0] if "." in str(value) else str(value)


FOLDERS = (
    Row(
        "data.root data_dir data_root root_dir data_path dataset_path dataset_root root data.data_dir data.path "
        "data.root_dir data.dataset_path paths.root dataset_dir input_dir",
        "dataset.paths.root",
        read=path,
    ),
    *(
        Row(
            f"paths.{split} {split}_dir data.{split}_dir {split}_path data.{split}_path data.{split} {split}_data_dir "
            f"{split}_root",
            f"dataset.paths.{split}",
            "holds the folders `image` and `label`",
            path,
        )
        for split in ("train", "val", "test")
    ),
    *(
        Row(
            f"{split}_images {split}_image_dir {split}_images_dir {split}_img_dir data.{split}_images "
            f"data.{split}_image_dir data.{split}_images_dir data.{split}_img_dir {split}_imgs",
            f"~images.{split}",
            "with the masks beside it",
            path,
            keys=f"dataset.paths.{split}, dataset.image_folder",
        )
        for split in ("train", "val", "test")
    ),
    *(
        Row(
            f"{split}_masks {split}_mask_dir {split}_masks_dir {split}_label_dir {split}_labels {split}_labels_dir "
            f"data.{split}_masks data.{split}_mask_dir data.{split}_masks_dir data.{split}_label_dir "
            f"data.{split}_labels",
            f"~masks.{split}",
            "",
            path,
            keys="dataset.label_folder",
        )
        for split in ("train", "val", "test")
    ),
    Row(
        "images_dir image_dir img_dir imgs_dir data.images_dir data.image_dir data.img_dir image_folder "
        "data.image_folder "
        "images_folder img_folder",
        "~images.all",
        "all images, from which the splits are drawn",
        path,
        keys="dataset.paths.root, dataset.image_folder",
    ),
    Row(
        "masks_dir mask_dir labels_dir label_dir data.masks_dir data.mask_dir data.labels_dir data.label_dir "
        "mask_folder "
        "label_folder data.mask_folder data.label_folder masks_folder",
        "~masks.all",
        "",
        path,
        keys="dataset.label_folder",
    ),
    Row("fov_dir fov_folder data.fov_dir data.fov_folder roi_dir", "dataset.fov_folder", "a folder beside the images"),
    Row(
        "mask_suffix data.mask_suffix label_suffix data.label_suffix",
        "dataset.label_suffix",
        "the end of the stem; an extension is cut off",
        _suffix,
    ),
    Row(
        "image_suffix data.image_suffix img_suffix data.img_suffix", "dataset.image_suffix", "as `mask_suffix`", _suffix
    ),
    Row(
        "val_split val_ratio val_fraction validation_split val_percent val_size data.val_split data.val_ratio "
        "data.val_fraction data.validation_split valid_ratio",
        "dataset.split.val",
        "a share",
        number,
    ),
    Row(
        "test_split test_ratio test_fraction test_size data.test_split data.test_ratio data.test_fraction",
        "dataset.split.test",
        "a share",
        number,
    ),
    Row(
        "train_split train_ratio train_fraction data.train_split data.train_ratio",
        "~train_share",
        "what is left after `val` and `test`",
        number,
        keys="dataset.split.val",
    ),
    Row("split_seed random_state data.split_seed data.random_state", "dataset.split.seed", read=amount),
    Row(
        "img_ext image_ext mask_ext image_extension mask_extension data.image_ext data.mask_ext extensions "
        "file_extension ext data.img_ext",
        "dataset.label_suffix",
        "endings of files are found; `_mask.png` is the suffix `_mask`",
        _extension,
    ),
    Row(
        "mask_values mask_value data.mask_threshold binarize_threshold",
        note="a mask holds 0 and 1, or 0 and 255; otherwise set `dataset.mask_threshold`",
    ),
    Row(
        "out_channels n_classes num_classes model.out_channels model.n_classes model.num_classes data.num_classes "
        "data.n_classes data.out_channels",
        "dataset.num_classes",
        "1 for one mask; 2 is asked back",
        binary_classes,
    ),
)
"""Rows for the places of images and masks, in pipelines for folders of images."""

VESSELS = Pipeline(
    title="Vessels",
    about="Binary masks of 2D images, in two levels of YAML: an experiment file names a data-set file.",
    format="image_folders",
    ndim=2,
    signs="roinet roi_net utrans transroinet preprocessing.pad_to_multiple loss_weights image_log_frequency depths "
    "fov_folder num_channels log_activations",
    example="python train.py --config configs/experiments/exp001_basic_unet.yaml",
    rows=(
        Row(
            "dataset data_config dataset_config data_yaml dataset_file",
            "~place",
            "the data-set file is translated with it",
            keys="dataset",
        ),
        Row("data.name", "dataset.name"),
        Row(
            "pad_to_multiple preprocessing.pad_to_multiple pad_multiple",
            "data.preprocessing.pad_to_multiple",
            read=amount,
        ),
        Row(
            "transformer_layers model.transformer_layers model.num_transformer_layers model.transformer_blocks",
            "model.transformer_depth",
            "of `utrans` and `transroinet`",
            amount,
        ),
        Row("num_heads model.num_heads model.n_heads model.heads", "model.transformer_heads", read=amount),
        Row("mlp_ratio model.mlp_ratio", "model.transformer_mlp_ratio", read=number),
        Row("model.kernel kernel_size model.kernel_size", "model.kernel_size", "of `roinet` and `transroinet`", amount),
        Row("tile_size inference.tile_size inference.patch_size", "inference.tile", read=size),
        Row("save_predictions output.save_predictions", "output.save_predictions"),
        *FOLDERS,
        *FLIPS,
    ),
)
"""Vessels and other binary masks."""

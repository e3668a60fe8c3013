"""Keys of the pipeline for nuclei: TIFF slices with a CSV of classes, VGG3D fine-tuned from a checkpoint."""

from typing import Any

from segcli.config.earlier.row import Asked, LeftOut, Pipeline, Row, Sets, Undecided
from segcli.config.earlier.values import amount, amounts, as_list, number, path, size, switch, words
from segcli.config.earlier.volumes import VOLUME_AUGMENTATION

__all__ = ["NUCLEI"]


def _epochs(value: Any, asked: Asked) -> int:
    if value in (None, False, 0, -1):
        raise LeftOut("nothing is unfrozen unless `model.unfreeze_every` is set")
    return amount(value, asked)


def _unfrozen(value: Any, asked: Asked) -> int:
    if isinstance(value, list):
        raise Undecided("a list of epochs: groups are unfrozen after every `model.unfreeze_every` epochs here")
    return _epochs(value, asked)


def _unfrozen_at(value: Any, asked: Asked) -> Sets:
    """Read the one epoch after which everything is unfrozen."""
    note = "one group after every this many epochs, the last one first; not all at once"
    return Sets({"model.unfreeze_every": _epochs(value, asked)}, note)


def _frozen_layers(value: Any, asked: Asked) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Undecided(f"{value} frozen layers: name them, such as `model.freeze: [features.0.*, features.1.*]`")
    return words(value, asked)


NUCLEI = Pipeline(
    title="Nuclei",
    about="One class per volume: folders of TIFF slices and a CSV of classes, VGG3D fine-tuned from a checkpoint.",
    format="tiff_volumes",
    ndim=3,
    model="vgg3d",
    signs="vgg3d vgg_3d vgg16_3d freeze_features unfreeze_epoch unfreeze_every classifier_size csv_path classes_csv "
    "id_column class_filter sample_fraction raw_dir raw_folder data.csv_path data.raw_dir freeze_layers "
    "progressive_unfreezing "
    "label_column data.class_filter model.classifier_size model.freeze_features cache_volumes data.sample_fraction "
    "labels_csv",
    example="python finetune.py --config nuclei.yaml --pretrained_path weights/vgg3d.pth --freeze_features",
    rows=(
        Row(
            "data.root data_dir data_root root_dir data_path dataset_path root data.data_dir data.path data.root_dir "
            "data.dataset_path paths.root base_dir data.base_dir samples_dir",
            "dataset.paths.root",
            "a folder with `0001/raw`, `0001/mask` and so on",
            path,
        ),
        Row(
            "csv_path classes_csv csv csv_file labels_csv label_csv class_csv data.csv_path data.csv data.classes_csv "
            "data.labels_csv data.csv_file metadata_csv annotations",
            "~csv",
            "a table in the root, or the path to it",
            path,
            keys="dataset.classes_csv",
        ),
        Row("id_column id_col sample_column sample_col data.id_column data.id_col", "dataset.id_column"),
        Row(
            "class_column label_column class_col label_col target_column data.class_column data.label_column "
            "data.label_col",
            "dataset.class_column",
        ),
        Row(
            "raw_folder raw_dir raw_subdir image_folder data.raw_folder data.raw_dir data.raw_subdir",
            "dataset.raw_folder",
            "within a sample",
        ),
        Row(
            "mask_folder mask_dir mask_subdir data.mask_folder data.mask_dir data.mask_subdir",
            "dataset.mask_folder",
            "within a sample",
        ),
        Row("apply_mask use_mask mask_raw data.apply_mask data.use_mask", "dataset.apply_mask", read=switch),
        Row(
            "crop_size data.crop_size patch_size data.patch_size cube_size data.cube_size input_size data.input_size "
            "image_size data.image_size volume_size",
            "dataset.crop_size",
            "one number stands for all axes",
            size,
        ),
        Row("margin data.margin border discard_margin data.border", "dataset.margin", read=amounts),
        Row(
            "class_filter data.class_filter selected_classes classes_to_use use_classes",
            "dataset.class_filter",
            read=words,
        ),
        Row("classes class_names data.classes data.class_names", "dataset.classes", "left out, they come from the CSV"),
        Row(
            "num_classes n_classes out_channels model.num_classes model.n_classes model.out_channels data.num_classes "
            "out_features",
            "",
            "the number of classes follows from the CSV",
        ),
        Row(
            "sample_fraction data.sample_fraction data_fraction subset_fraction", "dataset.sample_fraction", read=number
        ),
        Row(
            "limit_batches max_batches data.limit_batches limit_train_batches steps_per_epoch",
            "data.limit_batches",
            read=amount,
        ),
        Row(
            "cache_volumes cache_size data.cache_volumes data.cache_size max_cached_volumes",
            "dataset.cache_volumes",
            read=amount,
        ),
        Row(
            "val_split val_ratio val_fraction validation_split val_size data.val_split data.val_ratio "
            "data.val_fraction",
            "dataset.split.val",
            "a share of the samples of each class",
            number,
        ),
        Row(
            "test_split test_ratio test_fraction test_size data.test_split data.test_ratio data.test_fraction",
            "dataset.split.test",
            "a share of the samples of each class",
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
        Row("k_folds n_folds num_folds folds cv_folds n_splits fold k_fold", "", "`segcli train CONFIG --folds K`"),
        Row(
            "freeze_features freeze_backbone freeze_encoder freeze freeze_base model.freeze_features "
            "model.freeze_backbone "
            "model.freeze finetune.freeze_features freeze_conv",
            "model.freeze_features",
            read=switch,
        ),
        Row(
            "freeze_layers frozen_layers model.freeze_layers layers_to_freeze model.frozen_layers",
            "model.freeze",
            "names or patterns such as `features.0.*`",
            _frozen_layers,
        ),
        Row(
            "unfreeze_every model.unfreeze_every unfreeze_interval progressive_unfreeze_every unfreezing.every "
            "unfreeze_every_n_epochs",
            "model.unfreeze_every",
            "one group after every this many epochs",
            _unfrozen,
        ),
        Row(
            "unfreeze_epoch unfreeze_at unfreeze_after model.unfreeze_epoch unfreeze_after_epochs freeze_epochs",
            "model.unfreeze_every",
            "one group after another, not all at once",
            _unfrozen_at,
        ),
        Row("progressive_unfreezing gradual_unfreezing", "", "set `model.unfreeze_every`"),
        Row(
            "classifier_size hidden_size fc_size hidden_units fc_units model.classifier_size model.hidden_size "
            "model.fc_size classifier_hidden",
            "model.classifier_size",
            read=amount,
        ),
        Row("keep_classifier model.keep_classifier load_classifier", "model.keep_classifier", read=switch),
        Row(
            "convs_per_block model.convs_per_block model.convolutions n_convs",
            "model.convolutions",
            "one number for all blocks",
            amounts,
        ),
        Row(
            "class_weights loss.class_weights use_class_weights loss.weight",
            "training.loss.cross_entropy.class_weights",
            "a list, or `inverse` (`balanced`)",
            lambda value, asked: (
                {"True": "inverse", "balanced": "inverse", "False": "none", "None": "none"}.get(str(value), value)
                if not isinstance(value, list)
                else [number(entry, asked) for entry in as_list(value, asked)]
            ),
        ),
        Row("label_smoothing loss.label_smoothing", "training.loss.cross_entropy.label_smoothing", read=number),
        Row(
            "validate_on_cpu val_on_cpu",
            "training.validate_on",
            read=lambda value, asked: "cpu" if switch(value, asked) else "device",
        ),
        *VOLUME_AUGMENTATION,
    ),
    loss="cross_entropy",
)
"""Nuclei volumes with a class each."""

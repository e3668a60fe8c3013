"""Keys of the pipeline for organs: Sacred, HDF5 files with presence flags, SADAAN."""

from typing import Any

from segcli.config.earlier import names
from segcli.config.earlier.row import Asked, LeftOut, Pipeline, Row, Sets, Undecided
from segcli.config.earlier.values import amount, number, path
from segcli.config.earlier.volumes import VOLUME_AUGMENTATION
from segcli.core.registry import same_name

__all__ = ["ORGANS"]

PARTS = {
    "segmentation": "seg segmentation bce mask seg_loss",
    "dice": "dice dice_loss",
    "focal_seg": "focal focal_seg focal_loss",
    "absence": "absence presence presence_loss classification cls absence_loss",
    "attention_supervision": "attention attention_supervision attn attention_loss att",
    "false_positive_suppression": "false_positive fp fp_suppression false_positive_suppression suppression fps",
    "confidence": "confidence conf confidence_loss",
}
PART_OF = {same_name(other): part for part, others in PARTS.items() for other in others.split()}


def _weight(value: Any, asked: Asked) -> Sets:
    """Read the weight of a part of SADAAN's loss, or of another loss where the old file names another network."""
    network = asked.other("model", "model.name", "model.type", "model_name", "arch")
    name = same_name(asked.name.removesuffix("_weight"))
    if network is not None and same_name(str(network)) not in {"sadaan", "sadaannet", "sadaan3d"}:
        part = names.loss_part(name)
        if part is None:
            raise Undecided(f"there is no loss `{asked.name}` for `{network}`")
        return Sets({f"training.loss.{part}.weight": number(value, asked)})
    if name not in PART_OF:
        raise Undecided(f"`{asked.name}` is no part of the loss; the parts are {', '.join(PARTS)}")
    return Sets({f"training.loss.sadaan.{PART_OF[name]}": number(value, asked)})


def _features(value: Any, asked: Asked) -> Any:
    """Read `features`: a list of channels by level; one number is the channels of the shared map, as here."""
    if isinstance(value, list):
        return Sets({"model.depths": [amount(entry, asked) for entry in value]})
    note = "channels of the feature map; if it was the width of the first level, set `model.depths` instead"
    return Sets({"model.features": amount(value, asked)}, note)


def _file(value: Any, asked: Asked) -> Any:
    """Read the path of one split's HDF5 file: the folder is the root, the name must be ours."""
    file = path(value, asked)
    folder, _, name = file.rpartition("/")
    split = next(part for part in ("train", "val", "test") if part in asked.name.lower())
    if name not in {f"{split}.h5", f"{split}.hdf5"}:
        raise Undecided(f"`{name}`: name the file `{split}.h5` in `dataset.paths.root`, or link it there")
    return Sets({f"~root.{split}": folder or "."})


def _sacred(value: Any, asked: Asked) -> Any:
    if asked.name.lower() in {"mongo_url", "mongourl"} and value:
        return [{"type": "sacred", "mongo_url": str(value)}]
    if not value:
        raise LeftOut("no tracker is the default")
    return ["sacred"] if isinstance(value, bool) else [{"type": "sacred", "folder": path(value, asked)}]


ORGANS = Pipeline(
    title="Organs",
    about="Volumes in HDF5 files with presence flags, SADAAN, configured by Sacred.",
    format="hdf5_volumes",
    ndim=3,
    model="sadaan",
    signs="sadaan presence_threshold model.presence_threshold num_structures loss_weights.absence "
    "loss_weights.attention_supervision loss_weights.confidence loss_weights.false_positive_suppression "
    "structure_names "
    "hdf5_path absence_bias loss_weights.segmentation loss_weights.presence train_h5 model.prior_size h5_path "
    "data.hdf5_path intensity_scale_range",
    example="python train.py with model.features=8 training.lr=1e-4",
    rows=(
        Row(
            "data.root data_dir data_root root_dir data_path dataset_path root data.data_dir data.path data.root_dir "
            "data.dataset_path paths.root hdf5_path h5_path data.hdf5_path data.h5_path hdf5_dir data.hdf5_dir h5_dir",
            "dataset.paths.root",
            "a folder with `train.h5`, `val.h5` and `metadata.json`",
            path,
        ),
        Row(
            "train_file val_file test_file train_h5 val_h5 test_h5 data.train_file data.val_file data.test_file "
            "data.train_h5 data.val_h5 data.test_h5 train_path val_path test_path data.train_path data.val_path "
            "data.test_path",
            "~root.train",
            "the files are `train.h5`, `val.h5`, `test.h5` of one folder",
            _file,
            keys="dataset.paths.root",
        ),
        Row(
            "num_structures n_structures num_organs data.num_structures model.num_structures num_classes n_classes "
            "out_channels model.num_classes model.out_channels model.n_classes",
            "",
            "the number of structures follows from the data",
        ),
        Row(
            "structure_names organ_names organs structures data.structure_names data.organs data.structures "
            "class_names",
            "dataset.classes",
            "left out, they come from `metadata.json`",
        ),
        Row(
            "image_key images_key mask_key masks_key presence_key scenario_key data.image_key data.mask_key "
            "data.presence_key",
            "",
            "the arrays are `images`, `masks`, `presence_labels` and `scenarios`",
        ),
        Row("spacing data.spacing voxel_spacing voxel_size spacing_mm", "dataset.spacing_mm", "in millimetres"),
        Row(
            "intensity_window window clip_range data.clip_range hu_range intensity_range data.window",
            "dataset.intensity_range",
            "stored values that become 0 and 1",
        ),
        Row("model.features features", "model.features", "a list is `model.depths`", _features),
        Row("model.hidden model.hidden_dim hidden_dim", "model.hidden", "of the presence and confidence heads", amount),
        Row("presence_threshold model.presence_threshold gate_threshold", "model.presence_threshold", read=number),
        Row(
            "absence_bias model.absence_bias", "model.absence_bias", read=lambda value, asked: abs(number(value, asked))
        ),
        Row(
            "model.prior_size prior_size position_prior_size",
            "model.prior_size",
            "one number stands for all axes",
            lambda value, asked: value if isinstance(value, list) else [amount(value, asked)] * 3,
        ),
        Row(
            "loss_weights.* loss.weights.* loss.loss_weights.*",
            "training.loss.sadaan.<part>",
            "parts: segmentation, dice, focal_seg, absence, attention_supervision, false_positive_suppression, "
            "confidence",
            _weight,
        ),
        Row("focal_alpha loss.focal_alpha", "training.loss.sadaan.alpha", read=number),
        Row("focal_gamma loss.focal_gamma", "training.loss.sadaan.gamma", read=number),
        Row(
            "memory_cleanup_frequency cleanup_frequency empty_cache_every",
            "training.memory_cleanup_frequency",
            read=amount,
        ),
        Row(
            "sacred_dir observer_dir runs_dir sacred.dir sacred.observer_dir sacred.runs_dir mongo_url "
            "sacred.mongo_url "
            "use_sacred sacred.enabled",
            "logging.trackers",
            "a folder, or `mongo_url`",
            _sacred,
        ),
        *VOLUME_AUGMENTATION,
    ),
    loss="sadaan",
)
"""Organs that may be absent."""

"""Keys that all five earlier pipelines had, by the names that such scripts use."""

from typing import Any, get_args

from segcli.config.earlier import names
from segcli.config.earlier.row import Asked, LeftOut, Row, Sets
from segcli.config.earlier.shared_training import TRAINING
from segcli.config.earlier.values import (
    amount,
    amounts,
    device,
    number,
    path,
    run_folder,
    size,
    switch,
)
from segcli.data.settings import Preset

__all__ = ["SHARED"]


def _trackers(value: Any, asked: Asked) -> Any:
    tracker = "wandb" if "wandb" in asked.key.lower() else "mlflow"
    if value in (None, False, "disabled"):
        raise LeftOut("no tracker is the default")
    if isinstance(value, str) and asked.name.lower() in {"project", "wandb_project"}:
        return [{"type": tracker, "project": value}]
    if isinstance(value, str) and "uri" in asked.name.lower():
        return [{"type": tracker, "uri": value}]
    return [tracker]


def _pretrained(value: Any, asked: Asked) -> Any:
    if value in (None, False, "", "None"):
        raise LeftOut("no pretrained weights are the default")
    if value is True or str(value).lower() == "imagenet":
        return "imagenet"
    return path(value, asked)


def _resumed(value: Any, asked: Asked) -> Any:
    if value in (None, False, ""):
        raise LeftOut("a training starts anew unless it is resumed with `segcli resume RUN`")
    raise LeftOut(
        "`segcli resume RUN` goes on with runs of segcli; weights of an earlier script are loaded with "
        "`model.weights` by "
        "the networks that have this key"
    )


SHARED = (
    # ---- the run
    Row("name exp_name experiment_name run_name experiment exp_id project_name", "name"),
    Row("seed random_seed manual_seed rng_seed", "seed", read=amount),
    Row("device gpu gpus gpu_id gpu_ids use_cuda cuda use_gpu", "device", "`0` is `cuda:0`, `-1` is `cpu`", device),
    Row(
        "checkpoint.save_dir checkpoint.dir save_dir save_path checkpoint_dir checkpoints_dir ckpt_dir output_dir "
        "out_dir "
        "results_dir model_dir weights_dir output.dir result_dir work_dir workdir",
        "output.dir",
        "the folder of the run, whose `checkpoints` holds the checkpoints",
        run_folder,
    ),
    Row(
        "log_dir logdir logs_dir tensorboard_dir tb_dir logging.dir logging.log_dir tensorboard_log_dir summary_dir",
        note="event files lie in `tensorboard` of the run folder",
    ),
    Row(
        "checkpoint.resume resume resume_from resume_path resume_checkpoint resume_training load_checkpoint "
        "continue_train",
        note="`segcli resume RUN`; weights of earlier scripts: `model.weights`",
        read=_resumed,
    ),
    # ---- images and batches
    Row("batch_size data.batch_size train_batch_size bs batch", "data.batch_size", read=amount),
    Row("num_workers data.num_workers workers n_workers num_worker nw", "data.num_workers", read=amount),
    Row("pin_memory data.pin_memory", "data.pin_memory", read=switch),
    Row("drop_last data.drop_last", "data.drop_last", read=switch),
    Row("shuffle data.shuffle shuffle_train", note="training images are always shuffled, by the seed of the run"),
    Row("persistent_workers prefetch_factor data.persistent_workers data.prefetch_factor", note="set by segcli"),
    Row(
        "image_size data.image_size img_size input_size size data.img_size data.input_size data.size resize "
        "data.resize "
        "target_size data.target_size image_shape input_shape",
        "data.image_size",
        "one number stands for all axes; (height, width)",
        size,
    ),
    Row(
        "image_height img_height input_h height img_h data.image_height data.height",
        "~height",
        read=amount,
        keys="data.image_size",
    ),
    Row(
        "image_width img_width input_w width img_w data.image_width data.width",
        "~width_px",
        read=amount,
        keys="data.image_size",
    ),
    Row(
        "patch_size data.patch_size crop_size data.crop_size",
        "data.patch_size",
        "size of random crops in training",
        size,
    ),
    Row(
        "in_channels n_channels input_channels num_channels model.in_channels model.n_channels model.input_channels "
        "data.in_channels data.num_channels data.n_channels img_channels",
        "dataset.num_channels",
        "the network follows from the data set",
        amount,
    ),
    Row(
        "mean data.mean norm_mean preprocessing.mean augmentation.mean",
        "dataset.mean",
        "on the scale 0 to 1; left out, it is measured",
    ),
    Row("std data.std norm_std preprocessing.std augmentation.std", "dataset.std", "as `mean`"),
    Row(
        "cache data.cache cache_data cache_images",
        "data.cache",
        "`memory` or `none`",
        lambda value, asked: "memory" if switch(value, asked) else "none",
    ),
    *TRAINING,
    # ---- checkpoints, records, prediction
    Row(
        "save_every save_freq save_interval checkpoint.save_every checkpoint.frequency checkpoint.interval "
        "checkpoint.save_frequency checkpoint_interval save_epoch checkpoint_freq",
        "checkpoint.save_every",
        read=amount,
    ),
    Row(
        "save_best_only keep_best_only checkpoint.save_best_only checkpoint.keep_best_only checkpoint.save_best "
        "save_best",
        "checkpoint.keep_best_only",
        "`best` and `last` are always kept",
        switch,
    ),
    Row(
        "max_checkpoints keep_last checkpoint.keep_last checkpoint.max_keep save_top_k checkpoint.save_top_k",
        "checkpoint.max_checkpoints",
        read=amount,
    ),
    Row(
        "log_interval print_freq log_every print_every log_freq logging.interval print_interval verbose",
        note="the progress line shows every step",
    ),
    Row("use_tensorboard tensorboard logging.tensorboard logging.use_tensorboard", "logging.tensorboard", read=switch),
    Row(
        "use_wandb wandb wandb_project logging.wandb logging.wandb_project wandb.project use_mlflow mlflow "
        "mlflow.tracking_uri mlflow_uri wandb.enabled mlflow.enabled",
        "logging.trackers",
        "the packages are extras; `wandb` stays offline",
        _trackers,
    ),
    Row(
        "wandb_entity wandb.entity wandb.name wandb.mode wandb.tags", note="`wandb` writes offline, into the run folder"
    ),
    Row(
        "visualization_interval vis_interval visualize_every vis_every plot_interval vis_freq save_images_every",
        "logging.visualization_interval",
        "in epochs",
        amount,
    ),
    Row(
        "threshold pred_threshold inference.threshold mask_threshold prob_threshold", "inference.threshold", read=number
    ),
    Row("tta use_tta inference.tta test_time_augmentation", "inference.tta", read=switch),
    Row("overlap inference.overlap sw_overlap", "inference.overlap", read=number),
    # ---- network
    Row(
        "model model.name model.type model_name arch model.arch network net model_type architecture model.architecture "
        "backbone_model",
        "model.type",
        "`segcli models` lists the networks; a file of your own: `my_net.py:Net`",
        names.model,
    ),
    Row(
        "out_channels n_classes num_classes model.out_channels model.n_classes model.num_classes data.num_classes "
        "data.n_classes classes_num nclass",
        "dataset.num_classes",
        "the network follows from the data set",
        amount,
    ),
    Row(
        "base_channels base_filters base_features init_features start_filters n_filters num_filters init_filters "
        "filters "
        "model.base_channels model.base_filters model.base_features model.init_features model.start_filters "
        "model.n_filters model.num_filters model.init_filters model.filters model.width features_start",
        "~width",
        "the width of the first level; it doubles at each level",
        amounts,
        keys="model.depths",
    ),
    Row(
        "model.depth model.num_levels model.levels model.n_levels depth num_levels model.n_blocks model.num_blocks",
        "~levels",
        "number of levels",
        amount,
        keys="model.depths",
    ),
    Row(
        "model.features model.channels model.encoder_channels model.feature_sizes model.feature_channels",
        "~features",
        "a list: channels of each level; one number: of the first",
        amounts,
        keys="model.depths",
    ),
    Row("dropout dropout_rate model.dropout_rate dropout_p model.dropout_p drop_rate", "model.dropout", read=number),
    Row(
        "model.final_activation final_activation model.output_activation",
        note="follows from the task: sigmoid for masks, softmax for classes",
    ),
    Row("bilinear model.bilinear model.upsample_mode", note="networks here use transposed convolutions"),
    Row("deep_supervision model.deep_supervision", note="networks here have no deep supervision"),
    Row(
        "use_checkpointing gradient_checkpointing model.use_checkpointing model.gradient_checkpointing "
        "activation_checkpointing",
        "model.checkpoint_activations",
        read=switch,
    ),
    Row(
        "pretrained model.pretrained pretrained_weights pretrained_path model.pretrained_path weights model.weights "
        "pretrained_model encoder_weights model.encoder_weights checkpoint_path model.checkpoint",
        "model.weights",
        "a file, or `imagenet` for DeepLabV3+",
        _pretrained,
    ),
    # ---- augmentation
    Row(
        "augmentation augment use_augmentation data_augmentation augmentation.enabled augmentation.use use_aug "
        "data.augment",
        "data.augmentation.enabled",
        "true or false; or the name of a preset",
        lambda value, asked: (
            Sets({"data.augmentation.preset": value}) if value in get_args(Preset) else switch(value, asked)
        ),
    ),
    Row(
        "normalize data.normalize preprocessing.normalize",
        "data.preprocessing.normalize",
        read=lambda value, asked: value if value in ("per_image", "min_max") else switch(value, asked),
    ),
)
"""Keys that all five had."""

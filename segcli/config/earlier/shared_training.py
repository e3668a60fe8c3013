"""Keys of optimizer, schedule, loss and the loop that all five earlier pipelines had."""

from typing import Any

from segcli.config.earlier import names
from segcli.config.earlier.row import Asked, Row, Sets, Undecided
from segcli.config.earlier.values import amount, as_list, clip, number, stop_patience, switch

__all__ = ["TRAINING"]

AMP = {"16": "fp16", "fp16": "fp16", "float16": "fp16", "bf16": "bf16", "32": "off", "fp32": "off"}


def _betas(value: Any, asked: Asked) -> Any:
    if asked.name.lower() in {"betas", "adam_betas"}:
        return [number(entry, asked) for entry in as_list(value, asked)]
    first = asked.other("beta1", "optimizer.beta1", "adam_beta1")
    second = asked.other("beta2", "optimizer.beta2", "adam_beta2")
    return [number(0.9 if first is None else first, asked), number(0.999 if second is None else second, asked)]


def _weights_of_loss(value: Any, asked: Asked) -> Sets:
    """Read the weight of one part, which the last part of the key names."""
    name = asked.name.lower()
    for ending in ("_weight", "_loss_weight", "_coef", "_lambda"):
        name = name.removesuffix(ending)
    for start in ("lambda_", "weight_", "w_"):
        name = name.removeprefix(start)
    part = names.loss_part(name)
    if part is None:
        raise Undecided(f"there is no loss `{name}`; name it in `training.loss`")
    return Sets({f"training.loss.{part}.weight": number(value, asked)})


def _precision(value: Any, asked: Asked) -> str:
    return AMP.get(str(value).lower()) or ("auto" if switch(value, asked) else "off")


TRAINING = (
    # ---- optimizer
    Row("epochs num_epochs n_epochs max_epochs max_epoch epoch total_epochs", "training.epochs", read=amount),
    Row(
        "optimizer optimizer.type optimizer.name optim optim_name optimizer_name optimizer_type",
        "training.optimizer.type",
        "`adam`, `adamw`, `rmsprop`, `sgd`",
        names.optimizer,
    ),
    Row(
        "lr learning_rate optimizer.lr optimizer.learning_rate base_lr init_lr initial_lr lr0 start_lr max_lr",
        "training.optimizer.learning_rate",
        read=number,
    ),
    Row("weight_decay optimizer.weight_decay wd decay l2 optimizer.wd", "training.optimizer.weight_decay", read=number),
    Row("momentum optimizer.momentum", "training.optimizer.momentum", "of `sgd` and `rmsprop`", number),
    Row("nesterov optimizer.nesterov", "training.optimizer.nesterov", "of `sgd`", switch),
    Row(
        "betas optimizer.betas beta1 beta2 optimizer.beta1 optimizer.beta2 adam_beta1 adam_beta2 adam_betas",
        "training.optimizer.betas",
        "of `adam` and `adamw`",
        _betas,
    ),
    Row("eps optimizer.eps adam_eps optimizer.epsilon", "training.optimizer.eps", read=number),
    Row("amsgrad optimizer.amsgrad", note="`adam` here has no such variant"),
    # ---- schedule
    Row(
        "scheduler scheduler.type scheduler.name lr_scheduler optimizer.lr_scheduler optimizer.scheduler "
        "optimizer.lr_scheduler.type lr_schedule lr_policy lr_scheduler_type scheduler_type",
        "training.scheduler.type",
        "`CosineAnnealingLR` is `cosine`, `ReduceLROnPlateau` is `plateau`, `StepLR` is `step`, `ExponentialLR` is "
        "`step` "
        "of one epoch",
        names.scheduler,
    ),
    Row(
        "scheduler.T_max t_max scheduler.max_epochs scheduler.total_iters",
        "~t_max",
        "`cosine` ends with the last step",
        read=number,
        keys="none",
    ),
    Row("scheduler.eta_min eta_min min_lr scheduler.min_lr lr_min final_lr", "training.scheduler.min_lr", read=number),
    Row(
        "scheduler.step_size step_size lr_step lr_step_size lr_decay_step lr_decay_epochs",
        "training.scheduler.step_size",
        "in epochs",
        amount,
    ),
    Row("scheduler.gamma gamma lr_gamma lr_decay lr_decay_rate", "training.scheduler.gamma", "of `step`", number),
    Row("scheduler.factor factor lr_factor plateau_factor", "training.scheduler.factor", "of `plateau`", number),
    Row(
        "scheduler.patience lr_patience scheduler_patience plateau_patience",
        "training.scheduler.patience",
        "of `plateau`",
        amount,
    ),
    Row("scheduler.threshold", "training.scheduler.min_delta", "of `plateau`", number),
    Row("scheduler.power power lr_power poly_power", "training.scheduler.power", "of `poly`", number),
    Row(
        "scheduler.mode scheduler.monitor scheduler.metric scheduler.verbose",
        note="`plateau` follows `training.early_stopping.monitor`",
    ),
    Row("warmup_epochs scheduler.warmup_epochs warmup scheduler.warmup", "training.warmup_epochs", read=number),
    # ---- loss
    Row(
        "loss loss.type loss.name loss_fn loss_function criterion loss_type loss_name",
        "training.loss",
        "`bce_dice` is `{bce: .., dice: ..}`; a name with keys, or a sum of parts",
        names.loss,
    ),
    Row("loss_weights.* loss.weights.* loss.loss_weights.*", "training.loss.<part>.weight", read=_weights_of_loss),
    Row(
        "bce_weight dice_weight focal_weight ce_weight tversky_weight cldice_weight boundary_weight loss.bce_weight "
        "loss.dice_weight loss.focal_weight loss.ce_weight loss.tversky_weight lambda_bce lambda_dice weight_bce "
        "weight_dice w_bce w_dice bce_loss_weight dice_loss_weight",
        "training.loss.<part>.weight",
        read=_weights_of_loss,
    ),
    Row(
        "loss_weights loss.weights",
        "~weights",
        "a list belongs to a list of losses",
        keys="training.loss.<part>.weight",
    ),
    Row(
        "loss.smooth smooth dice_smooth loss.dice_smooth",
        "~option.smooth",
        "of Dice, Tversky and clDice",
        number,
        keys="training.loss.<part>.smooth",
    ),
    Row(
        "loss.alpha focal_alpha loss.focal_alpha tversky_alpha",
        "~option.alpha",
        "",
        number,
        keys="training.loss.<part>.alpha",
    ),
    Row("loss.beta tversky_beta", "~option.beta", "", number, keys="training.loss.<part>.beta"),
    Row("loss.gamma focal_gamma loss.focal_gamma", "~option.gamma", "", number, keys="training.loss.<part>.gamma"),
    Row("pos_weight loss.pos_weight bce_pos_weight", "training.loss.bce.pos_weight", "", number),
    Row("loss.reduction reduction", note="losses are means over the images of a batch"),
    # ---- the rest of the training
    Row(
        "metrics eval_metrics val_metrics metric logging.metrics",
        "training.metrics",
        "`dice_score`, `jaccard`, `miou` and others are known",
        names.metrics,
    ),
    Row(
        "early_stopping early_stop use_early_stopping early_stopping.enabled",
        "training.early_stopping",
        "true or false, or the patience; below 1: off",
        stop_patience,
    ),
    Row(
        "early_stopping_patience early_stopping.patience es_patience early_stop_patience",
        "training.early_stopping.patience",
        "also turns it on",
        stop_patience,
    ),
    Row(
        "patience",
        "~patience",
        "of early stopping, or of `plateau` where that is the schedule",
        amount,
        keys="training.early_stopping.patience or training.scheduler.patience",
    ),
    Row(
        "early_stopping.min_delta early_stopping.delta min_delta early_stopping_delta",
        "training.early_stopping.min_delta",
        read=number,
    ),
    Row(
        "early_stopping.monitor monitor early_stopping.metric checkpoint.monitor early_stopping_metric save_metric",
        "training.early_stopping.monitor",
        "also decides on the best checkpoint",
        names.monitor,
    ),
    Row("early_stopping.mode mode checkpoint.mode monitor_mode", note="follows from `training.early_stopping.monitor`"),
    Row(
        "val_interval eval_interval val_every validate_every eval_every val_freq validation_interval "
        "val_check_interval",
        "training.val_interval",
        "in epochs",
        amount,
    ),
    Row(
        "amp use_amp mixed_precision fp16 half use_mixed_precision precision",
        "training.amp",
        "`true` is `auto`; `fp16`, `bf16`, `off`",
        _precision,
    ),
    Row(
        "grad_clip clip_grad grad_clip_norm clip_grad_norm gradient_clip gradient_clip_val max_grad_norm max_norm "
        "gradient_clip_norm clip_norm",
        "training.gradient_clip_norm",
        read=clip,
    ),
    Row(
        "accumulation_steps grad_accum accum_steps gradient_accumulation accumulate_grad_batches "
        "grad_accumulation_steps "
        "gradient_accumulation_steps",
        "training.gradient_accumulation_steps",
        read=amount,
    ),
    Row("compile use_compile torch_compile", "training.compile", read=switch),
    Row(
        "ema use_ema ema_decay",
        "training.ema",
        "true or false, or the decay",
        lambda value, asked: value if isinstance(value, bool) else number(value, asked),
    ),
    Row("deterministic cudnn_deterministic cudnn.deterministic", "training.deterministic", read=switch),
    Row("benchmark cudnn_benchmark cudnn.benchmark", note="cuDNN does not time its algorithms"),
    Row(
        "multi_gpu data_parallel distributed ddp dist_backend local_rank world_size dist_url",
        note="set by `device`, not by a key of its own",
    ),
)
"""Rows of the section `training`."""

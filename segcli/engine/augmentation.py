"""Make the augmentation of a run: that of segcli or albumentations, and then those of the user's own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from segcli.augmentations import Augmentations
from segcli.config.chosen import is_own_augmentation
from segcli.config.schema import Run
from segcli.core.registry import AUGMENTATIONS
from segcli.data.samples import Sample, as_unit
from segcli.data.settings import VOLUME_KEYS, Augmentation
from segcli.data.volume_transforms import VolumeAugmenter
from segcli.datasets import Layout

__all__ = ["make_augmentation"]


def make_augmentation(run: Run, layout: Layout) -> Callable[[Sample, int], Sample] | None:
    """Make the augmentation of the training images of a run; None if there is none, or if the command needs none.

    Raises:
        ConfigError: A transform is unknown, has a wrong parameter, or does not work on these images.
    """
    settings = run.data.augmentation
    if not settings.enabled or run.leaves_out:
        return None
    own = [entry for entry in settings.transforms if is_own_augmentation(entry["type"])]
    if not own:
        return _ours(settings, run, layout)
    rest = settings.model_copy(update={"transforms": [entry for entry in settings.transforms if entry not in own]})
    stated = rest.preset or rest.transforms or any(getattr(rest, key) is not None for key in VOLUME_KEYS)
    size = run.data.patch_size or run.data.image_size or run.dataset.image_size or [64] * layout.ndim
    return Augmentations(
        _in_unit(_ours(rest, run, layout), layout) if stated else None,
        [_made(dict(entry)) for entry in own],
        (*size, run.dataset.num_channels),
    )


def _in_unit(ours: Callable[[Sample, int], Sample], layout: Layout) -> Callable[[Sample, int], Sample]:
    """Scale volumes to 0 to 1, whatever was drawn for them, for the user's own transforms."""
    if layout.ndim == 2:
        return ours

    def scaled(sample: Sample, seed: int) -> Sample:
        changed = ours(sample, seed)
        return replace(changed, image=as_unit(changed.image))

    return scaled


def _made(options: dict[str, Any]) -> Any:
    kind = AUGMENTATIONS.load(options.pop("type"), digest=options.get("sha256"))
    return kind(kind.Config.model_validate(options))


def _ours(settings: Augmentation, run: Run, layout: Layout) -> Callable[[Sample, int], Sample]:
    if layout.ndim == 3:
        return VolumeAugmenter(settings, spacing=layout.stated_spacing)
    from segcli.data.transforms import Augmenter  # noqa: PLC0415 - albumentations takes seconds to import

    size = run.data.patch_size or run.data.image_size or run.dataset.image_size
    return Augmenter(settings, channels=run.dataset.num_channels, square=size is not None and len(set(size)) == 1)

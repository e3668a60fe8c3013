"""Choose what a plan learns by: loss, sampling of rare classes, metrics, augmentation and test-time augmentation."""

from collections.abc import Sequence
from typing import Any

from segcli.planning.facts import Measures

__all__ = ["augmentation", "inference", "loss", "metrics", "sampling"]

RARE = 0.1
"""Share of the foreground below which crops are centred on it."""
RARE_CLASS = 0.01
"""Share of the rarest of several classes below which crops are centred on a class that is drawn by chance."""
FULL = 0.9
"""Share of the foreground above which every pixel has a class that counts."""
UNLIKE = 1.5
"""Ratio of brightness between samples above which gamma is changed strongly."""
Choice = tuple[Any, str]
"""Value of a key, and its reason."""


def loss(measures: Measures, task: str) -> Choice:
    """Choose the loss by task and imbalance."""
    shares = {name: share for name, share in measures.class_shares.items() if share > 0.0}
    listed = ", ".join(f"{name} {100.0 * share:.3g} %" for name, share in shares.items())
    if task == "classification":
        weights = "inverse" if max(shares.values()) > 1.2 * min(shares.values()) else "none"
        return {"cross_entropy": {"class_weights": weights, "label_smoothing": 0.05}}, f"samples by class: {listed}"
    if task == "structures" and min(measures.presence.values(), default=1.0) < 0.95:
        return {"sadaan": {}}, f"structures may be absent: {_presences(measures)}"
    if task in ("binary", "structures"):
        return {"bce": 0.5, "dice": 0.5}, f"BCE for each pixel, Dice against the imbalance ({listed})"
    if measures.background is None and len(shares) > 1:
        by_root = _root_weights(measures.class_shares)
        if max(by_root) > 3.0 * min(each for each in by_root if each):
            told = f"square roots of median frequency: pixels by class are {listed}"
            return {"cross_entropy": {"class_weights": by_root}, "dice": 1.0}, told
    return {"cross_entropy": 1.0, "dice": 1.0}, f"cross-entropy for each pixel, Dice against the imbalance ({listed})"


def _root_weights(shares: dict[str, float]) -> list[float]:
    """Weigh each class by the square root of median frequency over its own; 0 for a class that does not occur."""
    known = sorted(share for share in shares.values() if share > 0.0)
    middle = known[len(known) // 2]
    return [round(min((middle / share) ** 0.5, 5.0), 2) if share > 0.0 else 0.0 for share in shares.values()]


def _presences(measures: Measures) -> str:
    return ", ".join(f"{name} in {100.0 * share:.0f} % of the samples" for name, share in measures.presence.items())


def sampling(measures: Measures) -> Choice:
    """Choose the share of the crops that are centred on the foreground, or on a class drawn by chance."""
    if measures.foreground >= FULL:
        return 0.0, "classes fill the images: crops from anywhere show them as often as they occur"
    shares = {
        name: share for name, share in measures.class_shares.items() if share > 0.0 and name != measures.background
    }
    rarest = min(shares, key=lambda name: shares[name], default="")
    if len(shares) > 1 and shares[rarest] < RARE_CLASS:
        told = f"`{rarest}` is only {100.0 * shares[rarest]:.2g} % of the valid pixels: half of the crops show a class"
        return 0.5, f"{told} that is drawn by chance"
    if measures.foreground >= RARE:
        return (
            0.0,
            f"{100.0 * measures.foreground:.0f} % of the valid pixels are foreground: crops from anywhere hold some",
        )
    return (
        0.5,
        f"only {100.0 * measures.foreground:.2g} % of the valid pixels are foreground: half of the crops show it",
    )


def metrics(measures: Measures, task: str) -> Choice:
    """Choose the metrics; the first one decides on the best checkpoint."""
    if task == "classification":
        return ["accuracy", "f1"], "the first one decides on the best checkpoint"
    if task == "structures":
        return ["dice", "presence_accuracy"], "Dice of present structures, which decides on the best checkpoint"
    if task == "binary":
        found = ["dice", "iou", *(["auc"] if measures.has_field else [])]
        return found, "the first one decides on the best checkpoint"
    first = ["mean_iou", "pixel_accuracy"] if measures.is_scene else ["dice", "mean_iou"]
    return first, "the first one decides on the best checkpoint"


def augmentation(measures: Measures, task: str, crop: Sequence[float]) -> Choice:
    """Choose the augmentation by what the data allow.

    Args:
        measures: Facts about the pixels.
        task: Task of the data set.
        crop: Size of what the network is trained on, which quarter turns must not change.
    """
    if measures.ndim == 3:
        return _of_volumes(measures, task)
    if measures.is_scene:
        sides = "only left and right are exchanged" if 1 in measures.flips else "classes keep their sides"
        told = f"a scene has a top and a bottom: {sides}, and objects come at many sizes"
        return {"transforms": _of_scenes(measures)}, told
    is_square = len(set(crop)) == 1
    allowed = "flips and quarter turns" if measures.turns and is_square else _flip_words(measures)
    transforms = [*_moves(measures, is_square=is_square), *_lights(measures)]
    return {"transforms": transforms}, f"the data allow {allowed}; sizes, angles and light vary"


def _flip_words(measures: Measures) -> str:
    names = {0: "top and bottom", 1: "left and right"}
    listed = " and ".join(names[axis] for axis in measures.flips)
    if not listed:
        return "no flips, because classes lie on fixed sides of one another"
    return f"the exchange of {listed}"


def _moves(measures: Measures, *, is_square: bool) -> list[dict[str, Any]]:
    """List flips, turns and changes of size."""
    flips = {1: "HorizontalFlip", 0: "VerticalFlip"}
    found: list[dict[str, Any]] = [{"type": name, "p": 0.5} for axis, name in flips.items() if axis in measures.flips]
    degrees = 45 if measures.turns else 10
    if measures.turns and is_square:
        found.append({"type": "RandomRotate90", "p": 0.5})
    moved = {"scale": [0.8, 1.25], "rotate": [-degrees, degrees], "border_mode": 4}
    return [*found, {"type": "Affine", **moved, "p": 0.7}]


def _lights(measures: Measures) -> list[dict[str, Any]]:
    """List changes of light, colour and sharpness, of images of 8 bits, whose range of values is known."""
    if measures.bits > 8 or measures.is_float:
        return [{"type": "RandomBrightnessContrast", "brightness_limit": 0.1, "contrast_limit": 0.2, "p": 0.5}]
    strong = measures.brightness_ratio > UNLIKE or measures.channels == 3
    gamma = [60, 160] if strong else [80, 125]
    found: list[dict[str, Any]] = []
    if measures.channels == 3:
        colours = {"saturation": [0.6, 1.4], "hue": [-0.04, 0.04]}
        found.append({"type": "ColorJitter", "brightness": [0.7, 1.3], "contrast": [0.7, 1.3], **colours, "p": 0.8})
    else:
        limits = {"brightness_limit": 0.2, "contrast_limit": 0.2}
        found.append({"type": "RandomBrightnessContrast", **limits, "p": 0.5})
    return [
        *found,
        {"type": "RandomGamma", "gamma_limit": gamma, "p": 0.5},
        {"type": "GaussianBlur", "blur_limit": [3, 5], "p": 0.1},
        {"type": "GaussNoise", "std_range": [0.01, 0.04], "p": 0.2},
    ]


def _of_scenes(measures: Measures) -> list[dict[str, Any]]:
    moved = {"scale": [0.6, 2.0], "translate_percent": [-0.06, 0.06], "rotate": [-3, 3], "border_mode": 4}
    flips = [{"type": "HorizontalFlip", "p": 0.5}] if 1 in measures.flips else []
    found: list[dict[str, Any]] = [*flips, {"type": "Affine", **moved, "p": 0.9}]
    if measures.channels == 3 and measures.bits <= 8:
        light = {"brightness": [0.75, 1.3], "contrast": [0.8, 1.25], "saturation": [0.7, 1.3], "hue": [-0.02, 0.02]}
        found.append({"type": "ColorJitter", **light, "p": 0.8})
    return [*found, {"type": "GaussianBlur", "blur_limit": [3, 5], "p": 0.1}]


def _of_volumes(measures: Measures, task: str) -> Choice:
    if task == "classification" and len(measures.flips) == 3 and measures.turns:
        return {"preset": "nuclei"}, "no side is the upper one: every flip and quarter turn, gamma, contrast, noise"
    keys: dict[str, Any] = {"noise_std": 0.05, "intensity_scale_range": [0.9, 1.1]}
    told = "noise and intensity"
    if measures.anisotropy <= 3.0:
        keys["rotation_degrees"] = 8
        told += ", small rotations"
    if measures.flips:
        keys["flip_axes"] = list(measures.flips)
        told += f", flips of axes {list(measures.flips)}"
    if measures.turns:
        keys["quarter_turns"] = True
    return keys, f"{told}; left and right may differ" if not measures.flips else told


def inference(measures: Measures, task: str) -> dict[str, Choice]:
    """Choose the test-time augmentation, by the same symmetries as the augmentation."""
    if task == "classification" or measures.ndim == 3:
        return {}
    if measures.is_scene:
        mirror = {"tta": ("horizontal", "a scene may be mirrored, not turned")} if 1 in measures.flips else {}
        return mirror | {"scales": ([0.75, 1.0, 1.5], "things in a scene come at many sizes")}
    if measures.turns:
        return {"tta": (True, "the mean of all flips and quarter turns, which the network has learnt")}
    return {"tta": ("horizontal", "the mirror image is as likely")} if 1 in measures.flips else {}

"""List the cases of the comparison, and the programs that take part in each."""

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["CASES", "GPU_CASES", "KINDS", "Case", "needs", "tiny"]

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "segcli": ("here", "segcli_loop.py", {"amp": True}),
    "segcli fp32": ("here", "segcli_loop.py", {"amp": "off"}),
    "bare": ("here", "bare_loop.py", {}),
    "bare, same tricks": ("here", "bare_loop.py", {"tricks": True}),
    "SMP": ("smp", "smp_loop.py", {}),
    "MONAI": ("monai", "monai_loop.py", {}),
}
"""Environment, program and own settings of each training; `amp: true` is bf16 where the processor computes it."""
UNETS = ("bare", "bare, same tricks", "MONAI", "segcli fp32", "segcli")
ENCODERS = ("SMP", "segcli fp32", "segcli")


@dataclass
class Case:
    """Describes one table: what is trained, on which data, by whom."""

    name: str
    title: str
    who: tuple[str, ...]
    ndim: int
    side: int
    counts: dict[str, int]
    depths: list[int]
    epochs: int
    batch: int
    encoder: str | None = None
    patch: int | None = None
    patches: int = 1
    threads: tuple[int, ...] = (2,)
    quick: bool = False


CASES = [
    Case(
        "pictures-small", "PNG 256x256, U-Net [8, 16, 32]", UNETS, 2, 256, {"train": 24, "val": 8}, [8, 16, 32],
        epochs=6, batch=2, threads=(1, 2), quick=True,
    ),
    Case(
        "encoder-small", "PNG 256x256, SMP's U-Net on three stages of ResNet-18", ENCODERS, 2, 256,
        {"train": 12, "val": 6}, [64, 32, 16], epochs=5, batch=2, encoder="resnet18", threads=(1, 2), quick=True,
    ),
    Case(
        "volumes-small", "NIfTI 48x48x48, crops of 32, U-Net [8, 16, 32]", UNETS, 3, 48, {"train": 4, "val": 2},
        [8, 16, 32], epochs=12, batch=2, patch=32, patches=2, threads=(1, 2), quick=True,
    ),
    Case(
        "pictures-full", "PNG 512x512, U-Net [16, 32, 64, 128, 256]", UNETS[1:], 2, 512, {"train": 6, "val": 2},
        [16, 32, 64, 128, 256], epochs=3, batch=2,
    ),
    Case(
        "encoder-full", "PNG 512x512, SMP's U-Net on ResNet-34", ENCODERS, 2, 512, {"train": 4, "val": 2},
        [256, 128, 64, 32, 16], epochs=3, batch=2, encoder="resnet34",
    ),
    Case(
        "volumes-full", "NIfTI 72x72x72, crops of 48, U-Net [16, 32, 64, 128]", UNETS[1:], 3, 72,
        {"train": 2, "val": 1}, [16, 32, 64, 128], epochs=3, batch=2, patch=48, patches=2,
    ),
]  # fmt: skip

GPU_CASES = [
    Case(
        "pictures-small", "PNG 256x256, U-Net [16, 32, 64, 128]", ("segcli", "bare, same tricks", "MONAI"), 2, 256,
        {"train": 32, "val": 8}, [16, 32, 64, 128], epochs=5, batch=8,
    ),
    Case(
        "pictures-full", "PNG 512x512, U-Net [32, 64, 128, 256, 512]", UNETS[::-1], 2, 512,
        {"train": 32, "val": 8}, [32, 64, 128, 256, 512], epochs=5, batch=8,
    ),
    Case(
        "volumes-full", "NIfTI 96x96x96, crops of 64, U-Net [32, 64, 128, 256]",
        ("segcli", "bare, same tricks", "MONAI"), 3, 96, {"train": 8, "val": 2}, [32, 64, 128, 256],
        epochs=4, batch=4, patch=64, patches=4,
    ),
    Case(
        "encoder-full", "PNG 512x512, SMP's U-Net on ResNet-34", ("segcli", "SMP"), 2, 512, {"train": 32, "val": 8},
        [256, 128, 64, 32, 16], epochs=5, batch=8, encoder="resnet34",
    ),
]  # fmt: skip
"""Cases of a GPU, segcli first; two threads are what a loop on a GPU needs beside the processes of its loader."""


def needs(case: Case, kind: str) -> list[str]:
    """List the modules that a training of a case imports beside PyTorch and NumPy."""
    own = {"MONAI": ["monai"], "SMP": ["segmentation_models_pytorch"]}.get(kind, ["segcli"])
    if case.ndim == 3:
        return [*own, "nibabel"]
    if kind == "MONAI":
        return [*own, "PIL"]
    encoder = ["segmentation_models_pytorch"] if case.encoder and kind != "SMP" else []
    return [*own, *encoder, "albumentations", "cv2"]


def tiny(case: Case) -> Case:
    """Make a case so small that it only shows that it runs."""
    small = replace(
        case,
        title=f"{case.title} (in small)",
        counts={"train": 2, "val": 1},
        epochs=2,
        batch=2,
        threads=(1,),
    )
    if case.ndim == 3:
        return replace(small, side=24, patch=16, patches=2, depths=[4, 8])
    if case.encoder:
        return replace(small, side=64, depths=[16, 8, 8], encoder="resnet18")
    return replace(small, side=32, depths=[4, 8])

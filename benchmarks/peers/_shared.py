"""What all trainings of the comparison share: settings, clock, augmentation, U-Net, and the usual loop.

Every environment imports this file, so it needs only PyTorch and NumPy.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

MEAN, STD = [0.35, 0.3, 0.3], [0.2, 0.2, 0.2]
"""Statistics of the generated pictures, about; each training normalises by them."""


@dataclass
class Spec:
    """Holds the settings of one training; all trainings of a case have the same, except `amp` and `tricks`."""

    data: str
    out: str
    ndim: int
    depths: list[int]
    """Channels of the U-Net at each level; of the decoder, the deepest first, with an encoder of SMP."""
    encoder: str | None
    batch: int
    epochs: int
    seed: int
    threads: int
    workers: int
    rate: float
    patch: int | None = None
    """Side of the crops, and of the windows of the validation; None trains on whole images."""
    patches: int = 1
    """Crops of each volume in an epoch."""
    amp: str = "off"
    tricks: bool = False
    """Use bf16, channels-last and kept memory, in a loop without segcli."""
    device: str = "cpu"
    """`cpu` or `cuda`; on a GPU, loaders pin their batches."""

    @property
    def on_gpu(self) -> bool:
        """Tell whether the training runs on a GPU."""
        return self.device != "cpu"

    @classmethod
    def given(cls) -> "Spec":
        """Read the settings from the command line."""
        return cls(**json.loads(sys.argv[1]))


class Clock:
    """Writes the processor time and the wall time of the process after each epoch.

    On a GPU, an epoch is over when all that it has asked of the GPU is computed.

    Args:
        spec: Settings; `clock.jsonl` is written to their output folder.
    """

    def __init__(self, spec: Spec) -> None:
        self.file = Path(spec.out) / "clock.jsonl"
        self.on_gpu = spec.on_gpu

    def epoch_over(self, dice: float) -> None:
        """Note the end of an epoch with its Dice on the held-out images."""
        gpu_peak_mib = 0.0
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()
            gpu_peak_mib = torch.cuda.max_memory_allocated() / 2**20
        used = os.times()
        cpu_s = used.user + used.system + used.children_user + used.children_system
        with self.file.open("a") as file:
            mark = {"cpu_s": cpu_s, "wall_s": time.monotonic(), "dice": dice, "gpu_peak_mib": gpu_peak_mib}
            file.write(json.dumps(mark) + "\n")


def unet(ndim: int, channels: int, classes: int, depths: list[int]) -> Any:
    """Build the U-Net of segcli from plain PyTorch: batch norm, ReLU, transposed convolutions."""
    import torch
    from torch import nn

    conv, norm, up, pool = {
        2: (nn.Conv2d, nn.BatchNorm2d, nn.ConvTranspose2d, nn.MaxPool2d),
        3: (nn.Conv3d, nn.BatchNorm3d, nn.ConvTranspose3d, nn.MaxPool3d),
    }[ndim]

    def double(below: int, here: int) -> nn.Module:
        layers: list[nn.Module] = []
        for wide in (below, here):
            layers += [conv(wide, here, 3, padding=1, bias=False), norm(here), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(double(*pair) for pair in pairwise([channels, *depths]))
            self.up, self.joined = nn.ModuleList(), nn.ModuleList()
            for skip, deep in pairwise(depths):  # in this order, a seed draws the weights that segcli begins with
                self.up.append(up(deep, skip, 2, stride=2))
                self.joined.append(double(2 * skip, skip))
            self.pool, self.head = pool(2), conv(depths[0], classes, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for level, block in enumerate(self.down):
                x = block(self.pool(x) if level else x)
                skips.append(x)
            for level in reversed(range(len(depths) - 1)):
                x = self.joined[level](torch.cat([skips[level], self.up[level](x)], 1))
            found: torch.Tensor = self.head(x)
            return found

    return UNet()


def begin(spec: Spec) -> None:
    """Set threads, seed and output folder."""
    import torch

    torch.set_num_threads(spec.threads)
    torch.manual_seed(spec.seed)
    Path(spec.out).mkdir(parents=True, exist_ok=True)


def pairs(spec: Spec, split: str) -> list[tuple[Path, Path]]:
    """List images and masks of a split."""
    root = Path(spec.data)
    if spec.ndim == 2:
        images = sorted((root / split / "image").iterdir())
        return [(path, root / split / "label" / path.name) for path in images]
    images = sorted((root / "imagesTr").glob(f"{split}_*"))
    return [(path, root / "labelsTr" / path.name) for path in images]


def pictures(spec: Spec, split: str) -> Any:
    """Make the usual loader of PNG files: OpenCV, albumentations, PyTorch's `DataLoader`."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A
    import cv2
    import numpy as np
    from albumentations.pytorch import ToTensorV2
    from torch.utils.data import DataLoader, Dataset

    cv2.setNumThreads(spec.threads)
    random = [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.5)]
    steps = A.Compose([*(random if split == "train" else []), A.Normalize(MEAN, STD), ToTensorV2()], seed=spec.seed)
    found = pairs(spec, split)

    class Pictures(Dataset[tuple[Any, Any]]):
        def __len__(self) -> int:
            return len(found)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image, mask = (str(path) for path in found[index])
            bgr, grey = cv2.imread(image), cv2.imread(mask, cv2.IMREAD_GRAYSCALE)
            assert bgr is not None
            assert grey is not None
            binary = np.asarray(grey > 127).astype("float32")
            done = steps(image=cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), mask=binary)
            return done["image"], done["mask"][None]

    return DataLoader(Pictures(), spec.batch, shuffle=split == "train", **loading(spec))


def loading(spec: Spec) -> dict[str, Any]:
    """List what all loaders are told of processes and memory: workers stay, and a GPU gets pinned batches."""
    return {"num_workers": spec.workers, "persistent_workers": spec.workers > 0, "pin_memory": spec.on_gpu}


def fit(
    spec: Spec,
    network: Any,
    train: Iterable[Any],
    val: Iterable[Any],
    *,
    loss: Callable[[Any, Any], Any],
    dice: Callable[[Any, Any], list[float]],
    infer: Callable[[Any, Any], Any] | None = None,
) -> None:
    """Train as scripts of users do: train, validate, save the last and the best, log.

    Args:
        spec: Settings.
        network: Network.
        train: Batches of image and mask.
        val: Batches of held-out images and masks.
        loss: Loss of logits and mask.
        dice: Dice of each image of a batch.
        infer: Computes the logits of a batch of held-out images with the network.
    """
    import torch

    clock, out, best = Clock(spec), Path(spec.out), -1.0
    network = network.to(spec.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=spec.rate, weight_decay=0.01)
    layout = {2: torch.channels_last, 3: torch.channels_last_3d if spec.on_gpu else torch.contiguous_format}[spec.ndim]
    if spec.tricks:
        network = network.to(memory_format=layout)

    def placed(image: Any) -> Any:
        return image.to(memory_format=layout) if spec.tricks else image

    def moved(batches: Iterable[Any]) -> Iterator[Any]:
        if not spec.on_gpu:
            yield from batches
            return
        for image, mask in batches:
            yield image.to(spec.device, non_blocking=True), mask.to(spec.device, non_blocking=True)

    def autocast() -> Any:
        return torch.autocast(spec.device, torch.bfloat16, enabled=spec.amp == "bf16")

    for epoch in range(spec.epochs):
        network.train()
        sums = {"train": 0.0, "val": 0.0}
        for image, mask in moved(train):
            optimizer.zero_grad()
            with autocast():
                logits = network(placed(image))
            value = loss(logits.float(), mask)
            value.backward()
            optimizer.step()
            sums["train"] += value.item()
        network.eval()
        scores: list[float] = []
        with torch.no_grad():
            for image, mask in moved(val):
                with autocast():
                    logits = infer(network, placed(image)) if infer else network(placed(image))
                sums["val"] += loss(logits.float(), mask).item()
                scores += dice(logits.float(), mask)
        score = sum(scores) / len(scores)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "dice": score}
        if score > best:
            best = score
            torch.save(state, out / "best.pt")
        torch.save(state, out / "last.pt")
        with (out / "log.csv").open("a") as file:
            file.write(f"{epoch},{sums['train']},{sums['val']},{score}\n")
        print(f"epoch {epoch + 1}/{spec.epochs} {sums} dice {score:.4f}", flush=True)
        clock.epoch_over(score)
    # SMP keeps the stages of an encoder that it does not use; they have no gradient
    parameters = sum(each.numel() for each in network.parameters() if each.grad is not None)
    (out / "parameters").write_text(str(parameters))


def windows(size: tuple[int, ...], side: int, overlap: float = 0.25) -> Iterator[tuple[slice, ...]]:
    """Yield windows of this side that cover a volume and overlap."""
    from itertools import product

    step = max(int(side * (1 - overlap)), 1)
    starts = [sorted({*range(0, max(length - side, 0), step), max(length - side, 0)}) for length in size]
    for corner in product(*starts):
        yield tuple(slice(start, start + side) for start in corner)

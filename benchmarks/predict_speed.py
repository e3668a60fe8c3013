# python benchmarks/predict_speed.py small | large | volume [--count 500] [--side N] [--tile N] [--rounds 3]
"""Prediction from files to masks beside the loops that users write: many small images, a large image, a volume.

`small` compares with OpenCV and a network in float32, image by image and in batches; `large` and `volume` with MONAI's
`sliding_window_inference` (same tile, overlap and blending). Both sides have the same network, which is trained for a
moment on the generated images, read the same files and write masks. They take turns in one process of one thread, so
that other work on the machine disturbs both alike. segcli runs as `segcli predict` does, without its start. `large` and
`volume` need `pip install monai`.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from torch.nn import functional as F

from segcli.commands.answers import PredictOptions
from segcli.commands.answers.pictures import PictureAnswers
from segcli.commands.answers.volumes import VolumeAnswers
from segcli.commands.predict import write_all
from segcli.config.load import load_run
from segcli.core.heap import keep_freed_blocks
from segcli.engine.assembly import Assembly, assemble
from segcli.engine.events import Silent
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.checkpoint_predictor import _forward
from segcli.engine.inference.joint.small_images import SmallImages
from segcli.engine.inference.predictor import Predictor
from segcli.nn.fused import fuse

MEAN, STD = 0.4, 0.2
DEPTHS = {2: [16, 32, 64, 128], 3: [8, 16, 32]}
OVERLAP = 0.25
Run = Callable[[list[Path], Path], None]


def picture(seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw bright discs on noise, and their mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), np.uint8)
    for _ in range(max(side // 40, 2)):
        cv2.circle(mask, tuple(rng.integers(0, side, 2).tolist()), int(rng.integers(6, 24)), 1, -1)
    image = rng.normal(90, 30, (side, side, 3)) + 60 * mask[:, :, None]
    return image.clip(0, 255).astype(np.uint8), mask


def body(seed: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack such planes to a volume, each four times."""
    planes = [picture(seed + index, side) for index in range(side // 4)]
    image, mask = (np.stack(each).repeat(4, 0) for each in zip(*planes, strict=True))
    return image[..., 0], mask


def parts_of(ndim: int, tile: int, amp: str | bool) -> Assembly:
    """Make the parts of a run."""
    channels = 3 if ndim == 2 else 1
    dataset = {"paths": {"root": "."}, "num_channels": channels, "mean": [MEAN] * channels, "std": [STD] * channels}
    if ndim == 3:
        dataset |= {"format": "nifti_volumes", "task": "multiclass", "classes": ["background", "body"]}
    keys = {
        "name": "speed",
        "dataset": dataset,
        "model": {"type": "unet", "depths": DEPTHS[ndim]},
        "training": {"amp": amp},
        "inference": {"tile": [tile] * ndim, "overlap": OVERLAP},
        "device": "cpu",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_text(json.dumps(keys))  # JSON is YAML
        parts = assemble(load_run(path))
    parts.prepare_prediction()
    return parts


def train(network: torch.nn.Module, ndim: int, steps: int = 60) -> None:
    """Train for a moment, so that masks mean something."""
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    side = 96 if ndim == 2 else 32
    for step in range(steps):
        image, mask = picture(step, side) if ndim == 2 else body(step, side)
        logits = network(tensor_of(image))["mask"]
        truth = torch.from_numpy(mask)[None]
        if logits.shape[1] == 1:
            loss = F.binary_cross_entropy_with_logits(logits[:, 0], truth.float())
        else:
            loss = F.cross_entropy(logits, truth.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


def tensor_of(image: np.ndarray) -> torch.Tensor:
    """Normalise, as the usual loop does."""
    pixels = image if image.ndim == 3 and image.shape[-1] == 3 else image[..., None]
    return torch.from_numpy(np.moveaxis((pixels / np.float32(255) - MEAN) / STD, -1, 0).astype(np.float32))[None]


def segcli(parts: Assembly) -> Run:
    """Return the code of `segcli predict`."""
    kind = PictureAnswers if parts.layout.ndim == 2 else VolumeAnswers
    if parts.precision.dtype is None:
        fuse(parts.network)

    def run(files: list[Path], out: Path) -> None:
        predictor = Predictor(
            name="speed",
            source=Path("none"),
            layout=parts.layout,
            pipeline=parts.pipeline,
            task=parts.task,
            inference=parts.run.inference,
            forward=SmallImages(_forward(parts), NumPyArrays()),
            batch_size=parts.at_once,
            joins_small=parts.layout.ndim == 2,
        )
        done = write_all(kind([str(file) for file in files], lambda: [predictor], PredictOptions(out=out)), Silent())
        assert len(done.written) == len(files)

    return run


def usual(network: torch.nn.Module, batch: int) -> Run:
    """Return the loop of a tutorial: OpenCV, float32, a batch after the other."""

    def run(files: list[Path], out: Path) -> None:
        for start in range(0, len(files), batch):
            some = files[start : start + batch]
            images = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in some]
            with torch.inference_mode():
                masks = network(torch.cat([tensor_of(image) for image in images]))["mask"].sigmoid() > 0.5
            for file, mask in zip(some, masks.numpy(), strict=True):
                cv2.imwrite(str(out / file.name), mask[0].astype(np.uint8) * 255)

    return run


def monai(network: torch.nn.Module, ndim: int, tile: int) -> Run:
    """Return MONAI's sliding window between the same readers and writers."""
    from monai.inferers import sliding_window_inference

    def run(files: list[Path], out: Path) -> None:
        for file in files:
            image = tifffile.imread(file) if ndim == 3 else cv2.imread(str(file))[..., ::-1]
            with torch.inference_mode():
                logits = sliding_window_inference(
                    tensor_of(image), (tile,) * ndim, 1, lambda x: network(x)["mask"], overlap=OVERLAP, mode="gaussian"
                )
                mask = (logits > 0 if logits.shape[1] == 1 else logits.argmax(1, keepdim=True)).numpy()[0, 0]
            if ndim == 2:
                cv2.imwrite(str(out / file.name), mask.astype(np.uint8) * 255)
            else:
                tifffile.imwrite(out / file.name, mask.astype(np.uint8), compression="deflate")

    return run


def written(files: list[Path], side: int, ndim: int) -> Iterator[Path]:
    """Write the inputs."""
    for index, file in enumerate(files):
        if ndim == 2:
            cv2.imwrite(str(file), picture(10_000 + index, side)[0][..., ::-1])
        else:
            tifffile.imwrite(file, body(10_000 + index, side)[0])
        yield file


def masks(files: list[Path], out: Path) -> np.ndarray:
    """Read the masks through another reader than segcli's."""
    if files[0].suffix == ".png":
        return np.stack([cv2.imread(str(out / file.name), cv2.IMREAD_UNCHANGED) for file in files]) > 0
    return np.stack([tifffile.imread(out / file.name) for file in files]) > 0


def compare(runs: dict[str, Run], count: int, side: int, ndim: int, rounds: int) -> None:
    """Let all take turns, and print the table; the first is what the others are compared with."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        ending = ".png" if ndim == 2 else ".tif"
        files = list(written([Path(folder) / f"{index:04d}{ending}" for index in range(count)], side, ndim))
        for _ in range(rounds):
            for name, run in runs.items():
                out = Path(folder) / "found"
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                start = time.process_time(), time.perf_counter()
                run(files, out)
                spent[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))
                found[name] = masks(files, out)
    first = next(iter(runs))
    base = [min(column) for column in zip(*spent[first], strict=True)]
    share = found[first].mean()
    print(f"{count} of {'x'.join([str(side)] * ndim)}, one thread, {rounds} rounds, foreground {share:.1%}")
    print("| what | seconds of a processor | by the clock | times as fast | by the clock | equal pixels | Dice |")
    print("|---|---|---|---|---|---|---|")
    for name, times in spent.items():
        columns = list(zip(*times, strict=True))
        shown = " | ".join(f"{min(each):.2f} to {max(each):.2f}" for each in columns)
        ratios = " | ".join(f"{most / min(each):.2f}" for most, each in zip(base, columns, strict=True))
        both = 2 * (found[name] & found[first]).sum() / (found[name].sum() + found[first].sum())
        print(f"| {name} | {shown} | {ratios} | {(found[name] == found[first]).mean():.6f} | {both:.5f} |")


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "large", "volume"])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--side", type=int)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--amp", nargs="+", default=["off", "true"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_blocks()  # as `segcli predict` does; for all, which are in one process
    ndim = 3 if given.what == "volume" else 2
    tile = given.tile or {"small": 1024, "large": 1024, "volume": 128}[given.what]
    side = given.side or {"small": 256, "large": 4096, "volume": 256}[given.what]
    torch.manual_seed(0)
    last = {f"segcli, `amp: {amp}`": parts_of(ndim, tile, amp == "true" or amp) for amp in given.amp}
    for parts in last.values():  # all have the same weights, of which each side has the layout that it uses
        if parts is next(iter(last.values())):
            train(parts.network, ndim)
            weights = parts.network.state_dict()
        parts.network.load_state_dict(weights)
        parts.network.eval()
    plain = parts_of(ndim, tile, "off").network
    plain.load_state_dict(weights)
    plain.to(memory_format=torch.contiguous_format).eval()
    if given.what == "small":
        runs = {f"usual loop, batches of {batch}": usual(plain, batch) for batch in (1, 8)}
    else:
        runs = {"MONAI": monai(plain, ndim, tile)}
    runs |= {name: segcli(parts) for name, parts in last.items()}
    compare(runs, given.count if given.what == "small" else 1, side, ndim, given.rounds)


if __name__ == "__main__":
    main()

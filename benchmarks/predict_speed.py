# python benchmarks/predict_speed.py small | large | volume [--count 500] [--side N] [--tile N] [--rounds 3]
#                                    [--device cuda] [--row]
"""Prediction from files to masks beside the loops that users write: many small images, a large image, a volume.

`small` compares with OpenCV and a network in float32, image by image and in batches; `large` and `volume` with MONAI's
`sliding_window_inference` (same tile, overlap and blending). Both sides have the same network, which is trained for a
moment on the generated images, read the same files and write masks. They take turns in one process of one thread, so
that other work on the machine disturbs both alike. segcli runs as `segcli predict` does, without its start. `large` and
`volume` need `pip install monai`.

With `--device cuda`, the networks run on the GPU, and all have the threads that PyTorch takes; times are those by the
clock until the masks are written. Beside MONAI, which then computes four windows at once, or in its place if it is not
installed, stands a loop that averages windows, one at a time.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

sys.path.append(str(Path(__file__).parent / "peers"))
from _shared import windows

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


def parts_of(ndim: int, tile: int, amp: str | bool, device: str) -> Assembly:
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
        "device": device,
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
        logits = network(tensor_of(image).to(device_of(network)))["mask"]
        truth = torch.from_numpy(mask)[None].to(logits.device)
        if logits.shape[1] == 1:
            loss = F.binary_cross_entropy_with_logits(logits[:, 0], truth.float())
        else:
            loss = F.cross_entropy(logits, truth.long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch states no types
        optimizer.step()
    network.eval()


def device_of(network: torch.nn.Module) -> torch.device:
    """Return the device of a network."""
    return next(network.parameters()).device


def tensor_of(image: np.ndarray) -> torch.Tensor:
    """Normalise, as the usual loop does."""
    pixels = image if image.ndim == 3 and image.shape[-1] == 3 else image[..., None]
    return torch.from_numpy(np.moveaxis((pixels / np.float32(255) - MEAN) / STD, -1, 0).astype(np.float32))[None]


def pixels_of(file: Path, how: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Read a PNG file by OpenCV."""
    found = cv2.imread(str(file), how)
    assert found is not None, file
    return found


def segcli(parts: Assembly) -> Run:
    """Return the code of `segcli predict`."""
    kind = PictureAnswers if parts.layout.ndim == 2 else VolumeAnswers
    if parts.device.type == "cpu" and parts.precision.dtype is None:
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
            images = [cv2.cvtColor(pixels_of(file), cv2.COLOR_BGR2RGB) for file in some]
            with torch.inference_mode():
                pixels = torch.cat([tensor_of(image) for image in images]).to(device_of(network))
                masks = network(pixels)["mask"].sigmoid() > 0.5
            for file, mask in zip(some, masks.cpu().numpy(), strict=True):
                cv2.imwrite(str(out / file.name), mask[0].astype(np.uint8) * 255)

    return run


def tiled(slide: Callable[[torch.Tensor], torch.Tensor], network: torch.nn.Module, ndim: int) -> Run:
    """Return a sliding window between the same readers and writers."""

    def run(files: list[Path], out: Path) -> None:
        for file in files:
            image = tifffile.imread(file) if ndim == 3 else pixels_of(file)[..., ::-1]
            with torch.inference_mode():
                logits = slide(tensor_of(image).to(device_of(network)))
                mask = (logits > 0 if logits.shape[1] == 1 else logits.argmax(1, keepdim=True)).cpu().numpy()[0, 0]
            if ndim == 2:
                cv2.imwrite(str(out / file.name), mask.astype(np.uint8) * 255)
            else:
                tifffile.imwrite(out / file.name, mask.astype(np.uint8), compression="deflate")

    return run


def monai(network: torch.nn.Module, ndim: int, tile: int) -> Run:
    """Return MONAI's sliding window; on a GPU, with four windows at once, as its tutorials have it."""
    from monai.inferers import sliding_window_inference

    at_once = 1 if device_of(network).type == "cpu" else 4

    def slide(image: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = sliding_window_inference(
            image, (tile,) * ndim, at_once, lambda x: network(x)["mask"], overlap=OVERLAP, mode="gaussian"
        )
        return found

    return tiled(slide, network, ndim)


def averaged(network: torch.nn.Module, ndim: int, tile: int) -> Run:
    """Return the loop that users write: the mean of windows, one at a time."""

    def slide(image: torch.Tensor) -> torch.Tensor:
        size = tuple(image.shape[2:])
        count = torch.zeros(size, device=image.device)
        total: torch.Tensor | None = None
        for window in windows(size, tile, OVERLAP):
            logits = network(image[(slice(None), slice(None), *window)])["mask"].float()
            if total is None:
                total = torch.zeros(1, logits.shape[1], *size, device=image.device)
            total[(slice(None), slice(None), *window)] += logits
            count[window] += 1
        assert total is not None
        return total / count

    return tiled(slide, network, ndim)


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
        return np.stack([pixels_of(out / file.name, cv2.IMREAD_UNCHANGED) for file in files]) > 0
    return np.stack([tifffile.imread(out / file.name) for file in files]) > 0


@dataclass
class Measured:
    """Holds what one of the runs took in each round, and the masks of its last one."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    gpu_peak_mib: float = 0.0
    masks: Any = None


def measure(
    runs: dict[str, Run], count: int, side: int, ndim: int, rounds: int, *, on_gpu: bool
) -> dict[str, Measured]:
    """Let all take turns on the same files."""
    measured = {name: Measured() for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        ending = ".png" if ndim == 2 else ".tif"
        files = list(written([Path(folder) / f"{index:04d}{ending}" for index in range(count)], side, ndim))
        for _ in range(rounds):
            for name, run in runs.items():
                own, out = measured[name], Path(folder) / "found"
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                if on_gpu:
                    torch.cuda.synchronize()
                    torch.cuda.reset_peak_memory_stats()
                start = time.process_time(), time.perf_counter()
                run(files, out)
                own.cpu_s.append(time.process_time() - start[0])
                own.wall_s.append(time.perf_counter() - start[1])
                if on_gpu:
                    own.gpu_peak_mib = torch.cuda.max_memory_allocated() / 2**20
                own.masks = masks(files, out)
    return measured


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Compare two stacks of masks."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def print_table(measured: dict[str, Measured], what: str, rounds: int) -> None:
    """Print all as a table; the first is what the others are compared with."""
    first = next(iter(measured.values()))
    print(f"{what}, one thread, {rounds} rounds, foreground {first.masks.mean():.1%}")
    print("| what | seconds of a processor | by the clock | times as fast | by the clock | equal pixels | Dice |")
    print("|---|---|---|---|---|---|---|")
    for name, own in measured.items():
        shown = " | ".join(f"{min(each):.2f} to {max(each):.2f}" for each in (own.cpu_s, own.wall_s))
        ratios = f"{min(first.cpu_s) / min(own.cpu_s):.2f} | {min(first.wall_s) / min(own.wall_s):.2f}"
        equal, both = (own.masks == first.masks).mean(), dice(own.masks, first.masks)
        print(f"| {name} | {shown} | {ratios} | {equal:.6f} | {both:.5f} |")


def print_rows(measured: dict[str, Measured], what: str, device: str) -> None:
    """Print a row of `gpu_suite.sh` for each, by the clock."""
    first = next(iter(measured.values()))
    base = next(iter(measured))
    for name, own in measured.items():
        text = f"{min(own.wall_s):.2f} s by the clock ({min(own.wall_s):.2f} to {max(own.wall_s):.2f})"
        if own is not first:
            text += f", {min(first.wall_s) / min(own.wall_s):.2f} x as fast as {base}"
            equal, both = (own.masks == first.masks).mean(), dice(own.masks, first.masks)
            text += f", {equal:.4%} of the pixels equal, Dice {both:.5f}"
        gpu = f"; peak {own.gpu_peak_mib:,.0f} MiB of the GPU" if device != "cpu" else ""
        print(f"| prediction on {device}, {what}: {name} | {text}{gpu} |")


def peers_of(what: str, network: torch.nn.Module, ndim: int, tile: int, *, also: bool) -> dict[str, Run]:
    """Make the loops of others, of which the first is the base of all ratios.

    Args:
        what: Kind of images.
        network: Network in float32.
        ndim: Number of axes of an image.
        tile: Side of a window.
        also: Take the loop over windows, too, and do without MONAI where it is not installed.
    """
    if what == "small":
        return {f"usual loop, batches of {batch}": usual(network, batch) for batch in (1, 8)}
    runs = {"mean of windows in a loop": averaged(network, ndim, tile)} if also else {}
    if also and find_spec("monai") is None:
        print(f"| prediction: MONAI's `sliding_window_inference`, {what} | not measured: `monai` is not installed |")
        return runs
    return {"MONAI": monai(network, ndim, tile), **runs}


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "large", "volume"])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--side", type=int)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--amp", nargs="+", default=["off", "true"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--row", action="store_true", help="print rows for a Markdown table, with the loop over windows"
    )
    given = parser.parse_args()
    on_gpu = given.device != "cpu"
    if not on_gpu:
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
    keep_freed_blocks()  # as `segcli predict` does; for all, which are in one process
    ndim = 3 if given.what == "volume" else 2
    tile = given.tile or {"small": 1024, "large": 1024, "volume": 128}[given.what]
    side = given.side or {"small": 256, "large": 4096, "volume": 256}[given.what]
    torch.manual_seed(0)
    last = {f"segcli, `amp: {amp}`": parts_of(ndim, tile, amp == "true" or amp, given.device) for amp in given.amp}
    for parts in last.values():  # all have the same weights, of which each side has the layout that it uses
        if parts is next(iter(last.values())):
            train(parts.network, ndim)
            weights = parts.network.state_dict()
        parts.network.load_state_dict(weights)
        parts.network.eval()
    plain = parts_of(ndim, tile, "off", given.device).network
    plain.load_state_dict(weights)
    plain.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]  # its stub leaves it out
    runs = peers_of(given.what, plain, ndim, tile, also=on_gpu or given.row)
    runs |= {name: segcli(parts) for name, parts in last.items()}
    count = given.count if given.what == "small" else 1
    measured = measure(runs, count, side, ndim, given.rounds, on_gpu=on_gpu)
    what = f"{count} of {'x'.join([str(side)] * ndim)}"
    if on_gpu or given.row:
        print_rows(measured, what, given.device)
    else:
        print_table(measured, what, given.rounds)


if __name__ == "__main__":
    main()

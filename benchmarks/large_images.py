"""Large images on a CPU: throughput beside MONAI's sliding_window_inference, and memory at two sizes.

    python benchmarks/large_images.py speed [--side 2048] [--repeats 3]
    python benchmarks/large_images.py memory [--sides 8192 20000]
    python benchmarks/large_images.py volume [--sides 512 1024] [--ending .tif]

`speed` runs both in one process by turns, with the same network, tile, overlap and blending, and compares processor
time, which other work on the machine disturbs least. `memory` and `volume` generate files (tiled TIFF, TIFF stacks, or
`.nii`, `.nii.gz`, `.zarr`) and predict each with the code of `segcli predict` in a process of its own; volumes are
normalised by their own statistics.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch

from segcli.commands.answers import PredictOptions
from segcli.commands.answers.pictures import PictureAnswers
from segcli.commands.answers.volumes import VolumeAnswers
from segcli.commands.predict import write_all
from segcli.config.schema import DatasetSection, Inference
from segcli.core.registry import MODELS, TASKS
from segcli.core.types import IOSpec, Output
from segcli.data.pipeline import Pipeline
from segcli.data.settings import DataSettings
from segcli.engine.events import Silent
from segcli.engine.inference.arrays import NumPyArrays
from segcli.engine.inference.predictor import Forward, Predictor
from segcli.engine.inference.sliding import Sliding
from segcli.engine.runtime import choose_precision
from segcli.files import create
from segcli.files._tiles import TILE

DEPTHS = [16, 32, 64, 128]
SMALL = [2, 4]
"""Of the network whose tiles are counted in memory, where the time it takes is of no interest."""


def network(ndim: int, channels: int, depths: list[int]) -> torch.nn.Module:
    """A U-Net."""
    kind = MODELS.load("unet")
    torch.manual_seed(0)
    made: torch.nn.Module = kind(kind.Config(depths=depths), io=IOSpec(ndim, channels, {"mask": 1})).eval()
    return made


def forward_of(net: torch.nn.Module, amp: str, layout: torch.memory_format) -> Forward:
    """As `segcli predict` calls a network."""
    precision = choose_precision(amp, torch.device("cpu"))

    def forward(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode(), precision.autocast():
            outputs = net(torch.from_numpy(images).to(memory_format=layout))
        return {"mask": outputs["mask"].float().numpy()}

    return forward


def speed(side: int, repeats: int, tile: int, overlap: float) -> None:
    """Megapixels a second, by turns."""
    from monai.inferers import sliding_window_inference

    image = np.random.default_rng(0).standard_normal((3, side, side), dtype=np.float32)
    plain, last = network(2, 3, DEPTHS), network(2, 3, DEPTHS).to(memory_format=torch.channels_last)
    whole = torch.from_numpy(image)[None]

    def part_of_image(window: tuple[slice, ...]) -> np.ndarray:
        return image[(None, slice(None), *window)]

    def monai() -> np.ndarray:
        with torch.inference_mode():
            return sliding_window_inference(
                whole, (tile, tile), 1, lambda x: plain(x)["mask"], overlap=overlap, mode="gaussian"
            ).numpy()[0]

    def ours(net: torch.nn.Module, amp: str, layout: torch.memory_format) -> np.ndarray:
        forward, arrays = forward_of(net, amp, layout), NumPyArrays()
        sliding = Sliding(forward, arrays, [Output("mask", 1)], tile=(tile, tile), overlap=overlap, multiple=8)
        return np.concatenate([band["mask"][0] for _, band in sliding.bands(part_of_image, (side, side))], axis=1)

    runs: dict[str, Callable[[], np.ndarray]] = {
        "MONAI": monai,
        "segcli, float32, contiguous": lambda: ours(plain, "off", torch.contiguous_format),
        "segcli, float32, channels last": lambda: ours(last, "off", torch.channels_last),
        "segcli as it predicts (amp: auto)": lambda: ours(last, "auto", torch.channels_last),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    results = {}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time(), time.perf_counter()
            results[name] = run()
            spent[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))
    inner = (slice(None), slice(64, -64), slice(64, -64))
    print(f"{side}x{side} RGB, tile {tile}, overlap {overlap}, {torch.get_num_threads()} threads, {repeats} repeats")
    with torch.inference_mode():
        one_pass = plain(whole)["mask"].numpy()[0]
    print("| what | megapixels per processor second | per second | ratio to MONAI | difference to one whole pass |")
    print("|---|---|---|---|---|")
    base = statistics.median(cpu for cpu, _ in spent["MONAI"][1:])
    for name, times in spent.items():
        cpu = statistics.median(cpu for cpu, _ in times[1:])
        wall = statistics.median(wall for _, wall in times[1:])
        apart = np.abs(sigmoid(results[name]) - sigmoid(one_pass))[inner].max()
        print(f"| {name} | {side**2 / cpu / 1e6:.2f} | {side**2 / wall / 1e6:.2f} | {base / cpu:.2f} | {apart:.1e} |")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Of an array."""
    return 1 / (1 + np.exp(-x))


def memory(sides: list[int], tile: int, overlap: float) -> None:
    """Process memory above the model's, for two sizes of a tiled TIFF."""
    measured = []
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.tif"
            tifffile.imwrite(
                path,
                noise(side),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="deflate",
                bigtiff=True,
            )
            measured.append((f"{side}x{side} RGB", *in_a_process(path, 2, tile, overlap)))
    tell(measured)


def noise(side: int) -> Iterator[np.ndarray]:
    """Tiles of an image, one after the other."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 255, (TILE // 16, TILE // 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    for _ in range((-(-side // TILE)) ** 2):
        yield smooth


def volume(sides: list[int], tile: int, overlap: float, ending: str) -> None:
    """The same for volumes."""
    measured = []
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"large{ending}"
            rng = np.random.default_rng(0)
            cubes = rng.integers(0, 255, (side // 16,) * 3, dtype=np.uint8)
            with create(path, (side,) * 3, np.uint8) as add:
                for planes in cubes:
                    add(np.broadcast_to(planes.repeat(16, 0).repeat(16, 1), (16, side, side)))
            measured.append((f"{side}x{side}x{side}, {ending}", *in_a_process(path, 3, tile, overlap)))
    tell(measured)


def tell(measured: list[tuple[str, float, float, float]]) -> None:
    """As a table."""
    print("| input | above the model, MiB | seconds | of a processor |\n|---|---|---|---|")
    for what, peak_mib, elapsed_s, processor_s in measured:
        print(f"| {what} | {peak_mib:.0f} | {elapsed_s:.0f} | {processor_s:.0f} |", flush=True)


def in_a_process(path: Path, ndim: int, tile: int, overlap: float) -> tuple[float, float, float]:
    """MiB above the model's, seconds, and seconds of a processor."""
    command = [sys.executable, __file__, "child", str(path), str(ndim), "--tile", str(tile), "--overlap", str(overlap)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    peak, elapsed_s, processor_s = map(float, done.stdout.split())
    return peak, elapsed_s, processor_s


def child(path: Path, ndim: int, tile: int, overlap: float) -> None:
    """Predict a file and tell what it took."""
    keys = {
        2: {"format": "image_folders", "task": "binary"},
        3: {"format": "hdf5_volumes", "task": "structures", "classes": ["thing"], "num_channels": 1},
    }[ndim]
    dataset = DatasetSection.model_validate(keys)
    channels = dataset.num_channels
    layout = torch.channels_last if ndim == 2 else torch.channels_last_3d
    net = network(ndim, channels, SMALL).to(memory_format=layout)  # type: ignore[call-overload]
    task = TASKS.load(dataset.task)(dataset.spec)
    normalize = True if ndim == 2 else "per_image"
    predictor = Predictor(
        name="benchmark",
        source=path,
        layout=dataset.build(),
        pipeline=Pipeline(DataSettings(preprocessing={"normalize": normalize}), dataset.spec, stride=2),
        task=task,
        inference=Inference(tile=[tile] * ndim, overlap=overlap),
        forward=forward_of(net, "auto", layout),
    )
    options = PredictOptions(out=path.parent / "found")
    kind = PictureAnswers if ndim == 2 else VolumeAnswers
    before = psutil.Process().memory_info().rss
    start = time.perf_counter(), time.process_time()
    done = write_all(kind([str(path)], lambda: [predictor], options), Silent())
    elapsed_s, processor_s = time.perf_counter() - start[0], time.process_time() - start[1]
    assert len(done.written) == 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(peak / 2**20, elapsed_s, processor_s)


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "volume", "child"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--sides", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--ending", default=".tif")
    parser.add_argument("--overlap", type=float, default=0.25)
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.side, given.repeats, given.tile or 512, given.overlap)
    elif given.what == "memory":
        memory(given.sides or [8192, 20000], given.tile or 512, given.overlap)
    elif given.what == "volume":
        volume(given.sides or [512, 1024], given.tile or 128, given.overlap, given.ending)
    else:
        child(Path(given.rest[0]), int(given.rest[1]), given.tile, given.overlap)


if __name__ == "__main__":
    main()

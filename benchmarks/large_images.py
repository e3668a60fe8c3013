"""Large images on a CPU: throughput beside MONAI's sliding_window_inference, and memory at two sizes.

    python benchmarks/large_images.py speed [--side 2048] [--repeats 3]
    python benchmarks/large_images.py memory [--sides 8192 12288]
    python benchmarks/large_images.py volume [--sides 256 512]

`speed` runs both in one process by turns, with the same network, tile, overlap and blending, and compares processor
time, which other work on the machine disturbs least. `memory` and `volume` generate tiled files and predict each in a
process of its own.
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

from segcli.core.registry import MODELS
from segcli.core.types import IOSpec
from segcli.data.tiles import TILE, tiled_tiff
from segcli.data.windows import open_large
from segcli.engine.runtime import choose_precision
from segcli.engine.sliding import Sliding

DEPTHS = [16, 32, 64, 128]
SMALL = [2, 4]
"""Of the network whose tiles are counted in memory, where the time it takes is of no interest."""
SIDE_3D = 64


def network(ndim: int, channels: int, depths: list[int]) -> torch.nn.Module:
    """A U-Net."""
    kind = MODELS.load("unet")
    torch.manual_seed(0)
    made: torch.nn.Module = kind(kind.Config(depths=depths), io=IOSpec(ndim, channels, {"mask": 1})).eval()
    return made


def forward_of(net: torch.nn.Module, amp: str, layout: torch.memory_format) -> Callable[[np.ndarray], np.ndarray]:
    """As `segcli predict` calls a network."""
    precision = choose_precision(amp, torch.device("cpu"))

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), precision.autocast():
            outputs = net(torch.from_numpy(images).to(memory_format=layout))
        return outputs["mask"].float().numpy()

    return forward


def speed(side: int, repeats: int, tile: int, overlap: float) -> None:
    """Megapixels a second, by turns."""
    from monai.inferers import sliding_window_inference

    image = np.random.default_rng(0).standard_normal((3, side, side), dtype=np.float32)
    plain, last = network(2, 3, DEPTHS), network(2, 3, DEPTHS).to(memory_format=torch.channels_last)
    whole = torch.from_numpy(image)[None]

    def monai() -> np.ndarray:
        with torch.inference_mode():
            return sliding_window_inference(
                whole, (tile, tile), 1, lambda x: plain(x)["mask"], overlap=overlap, mode="gaussian"
            ).numpy()[0]

    def ours(net: torch.nn.Module, amp: str, layout: torch.memory_format) -> np.ndarray:
        sliding = Sliding(forward_of(net, amp, layout), tile=(tile, tile), overlap=overlap, multiple=8)
        read = lambda window: image[(slice(None), *window)]  # noqa: E731
        return np.concatenate([band for _, band in sliding.bands(read, (side, side))], axis=1)

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
    print("| image | above the model, MiB | seconds |\n|---|---|---|")
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
            peak, elapsed_s = in_a_process("slide", path, tile, overlap)
        print(f"| {side}x{side} RGB | {peak:.0f} | {elapsed_s:.0f} |", flush=True)


def noise(side: int) -> Iterator[np.ndarray]:
    """Tiles of an image, one after the other."""
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 255, (TILE // 16, TILE // 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    for _ in range((-(-side // TILE)) ** 2):
        yield smooth


def volume(sides: list[int], overlap: float) -> None:
    """The same for volumes, read by window from a mapped file."""
    print("| volume | above the model, MiB | seconds |\n|---|---|---|")
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "volume.npy"
            mapped = np.lib.format.open_memmap(path, "w+", np.uint8, (side, side, side))
            for plane in mapped:
                plane[:] = np.random.default_rng(0).integers(0, 255, plane.shape, dtype=np.uint8)
            del mapped
            peak, elapsed_s = in_a_process("volume", path, SIDE_3D, overlap)
        print(f"| {side}x{side}x{side} | {peak:.0f} | {elapsed_s:.0f} |", flush=True)


def in_a_process(kind: str, path: Path, tile: int, overlap: float) -> tuple[float, float]:
    """MiB above the model's, and seconds."""
    command = [sys.executable, __file__, "child", kind, str(path), "--tile", str(tile), "--overlap", str(overlap)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, elapsed_s = map(float, done.stdout.split())
    return peak, elapsed_s


def child(kind: str, path: Path, tile: int, overlap: float) -> None:
    """Predict a file and tell what it took."""
    ndim, channels = (2, 3) if kind == "slide" else (3, 1)
    layout = torch.channels_last if ndim == 2 else torch.channels_last_3d
    net = network(ndim, channels, SMALL).to(memory_format=layout)  # type: ignore[call-overload]
    sliding = Sliding(forward_of(net, "auto", layout), tile=(tile,) * ndim, overlap=overlap, multiple=8)
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    target = path.with_name("mask.tif")
    if kind == "slide":
        image = open_large(path)
        assert image is not None
        size: tuple[int, ...] = image.size
        padded = tuple(-(-length // 8) * 8 for length in size)

        def read(window: tuple[slice, ...]) -> np.ndarray:
            inside = tuple(slice(part.start, min(part.stop, length)) for part, length in zip(window, size, strict=True))
            pixels = image.read(inside).astype(np.float32) / 255
            widths = [(0, part.stop - part.start - have) for part, have in zip(window, pixels.shape, strict=False)]
            return np.ascontiguousarray(np.moveaxis(np.pad(pixels, [*widths, (0, 0)], mode="symmetric"), -1, 0))

        with tiled_tiff(target, size, np.uint8) as writer:
            for rows, logits in sliding.bands(read, padded):
                writer.add(np.where(logits[0, : size[0] - rows.start, : size[1]] > 0, 255, 0).astype(np.uint8))
    else:
        shape = np.load(path, mmap_mode="r").shape

        def read(window: tuple[slice, ...]) -> np.ndarray:
            # opened anew each time: pages of a mapped file that were read count as memory as long as it is mapped
            part = np.load(path, mmap_mode="r")[window].astype(np.float32) / 255
            return np.ascontiguousarray(part[None])

        with path.with_name("mask.bin").open("wb") as out:
            for _, logits in sliding.bands(read, shape):
                out.write(np.where(logits[0] > 0, 255, 0).astype(np.uint8).tobytes())
    elapsed_s = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(peak / 2**20, elapsed_s)


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "volume", "child"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--sides", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=float, default=0.25)
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.side, given.repeats, given.tile, given.overlap)
    elif given.what == "memory":
        memory(given.sides or [8192, 12288], given.tile, given.overlap)
    elif given.what == "volume":
        volume(given.sides or [256, 512], given.overlap)
    else:
        child(given.rest[0], Path(given.rest[1]), given.tile, given.overlap)


if __name__ == "__main__":
    main()

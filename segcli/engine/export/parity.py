"""Comparison of an exported network with the original, run in a separate process.

The process gets only the file: `python -m segcli.engine.export.parity FILE KIND INPUTS.npz OUTPUTS.npz` loads no
network of segcli, and no PyTorch for ONNX.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import CheckpointError
from segcli.core.types import Array
from segcli.engine.export.description import Difference
from segcli.engine.export.formats import Format
from segcli.engine.export.portable import open_portable

__all__ = ["Tried", "compared", "run_in_fresh_process"]


@dataclass(frozen=True)
class Tried:
    """Input for both networks."""

    name: str
    """`random`, or the file from which the input is cropped."""
    image: Array
    """Image in the format of the exported network's input."""


def compared(
    tried: Sequence[Tried],
    expected: Sequence[dict[str, Array]],
    found: Sequence[dict[str, Array]],
    probabilities: Callable[[Array], Array],
    output: str,
) -> list[Difference]:
    """Compute the differences for each input.

    Args:
        tried: Inputs of both networks.
        expected: Outputs of the original network by name, for each input.
        found: Outputs of the exported network by name, for each input.
        probabilities: Function from the raw output to probabilities.
        output: Name of the raw output, such as `mask` or `class`.
    """
    rows = []
    for entry, before, after in zip(tried, expected, found, strict=True):
        original, exported = before[output], after[output]
        differences = [float(np.abs(probabilities(original) - probabilities(exported)).max())]
        if "probabilities" in before:
            differences.append(float(np.abs(before["probabilities"] - after["probabilities"]).max()))
        raw = [name for name in before if name != "probabilities"]
        rows.append(
            Difference(
                input=entry.name,
                shape=list(entry.image.shape),
                logits=float(max(np.abs(before[name] - after[name]).max() for name in raw)),
                largest_logit=float(max(np.abs(before[name]).max() for name in raw)),
                probabilities=float(np.max(differences)),
            )
        )
    return rows


def run_in_fresh_process(path: Path, kind: Format, tried: Sequence[Tried]) -> list[dict[str, Array]]:
    """Run the file in a new process and return its outputs by name, for each input.

    Raises:
        CheckpointError: The file does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        images: dict[str, Any] = {str(index): entry.image for index, entry in enumerate(tried)}
        np.savez(inputs, **images)
        # -P: import nothing from the working folder, which is not trusted
        module = "segcli.engine.export.parity"
        command = [sys.executable, "-P", "-W", "ignore", "-m", module, path, kind, inputs, outputs]
        paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}  # works without an installed package too
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("  hint: ")]
            reason = (said or [f"exit code {done.returncode}"])[-1]
            raise CheckpointError(
                f"the exported network does not run ({reason[:200]})", hint="try another `--format`; nothing was kept"
            )
        found: list[dict[str, Any]] = [{} for _ in tried]
        with np.load(outputs) as arrays:
            for key in arrays.files:
                index, _, name = key.partition("/")
                found[int(index)][name] = arrays[key]
    return found


def _main(path: str, kind: Any, inputs: str, outputs: str) -> None:
    network = open_portable(Path(path), kind)
    with np.load(inputs) as images:
        found: dict[str, Any] = {
            f"{key}/{name}": values for key in images.files for name, values in network(images[key]).items()
        }
    if kind == "onnx" and "torch" in sys.modules:
        raise RuntimeError("PyTorch was loaded to run an ONNX file")
    np.savez(outputs, **found)


if __name__ == "__main__":
    _main(*sys.argv[1:])

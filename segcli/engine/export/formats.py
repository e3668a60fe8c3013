"""Formats of exported networks by the ends of their file names, which the command line completes."""

from typing import Literal

__all__ = ["FORMATS", "Format"]

Format = Literal["onnx", "torchscript", "pt2"]
FORMATS: dict[str, Format] = {".onnx": "onnx", ".torchscript": "torchscript", ".pt2": "pt2"}
"""What is in a file, by the end of its name."""

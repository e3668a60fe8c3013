"""Formats of exported networks by file suffix; the command line completes them."""

from typing import Literal

__all__ = ["FORMATS", "Format"]

Format = Literal["onnx", "torchscript", "pt2"]
FORMATS: dict[str, Format] = {".onnx": "onnx", ".torchscript": "torchscript", ".pt2": "pt2"}
"""File format by suffix."""

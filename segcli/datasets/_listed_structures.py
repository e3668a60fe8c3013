"""Structures of label maps, completed from their numbers or from the `dataset.json` of the Decathlon."""

from pathlib import Path
from typing import Any

from segcli.core.errors import DataError
from segcli.data.classes.class_list import Mistake
from segcli.datasets._volumes import decathlon_names

__all__ = ["completed_structures"]


def completed_structures(values: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """Complete the structures of a data set, as far as they are not stated; return mistakes in its keys, too."""
    changes: dict[str, Any] = {}
    classes, numbers = values.get("classes"), values.get("numbers")
    if not classes and isinstance(numbers, list) and numbers:
        classes = changes["classes"] = [{"name": f"label {number}"} for number in numbers]
    if not classes and "num_classes" not in values:
        try:
            found = _decathlon(values.get("paths"), background=values.get("task") == "multiclass")
        except DataError as error:
            return {}, [("classes", error.message, error.hint)]
        if found:
            numbers = changes["numbers"] = list(found)
            classes = changes["classes"] = [{"name": name} for name in found.values()]
    if isinstance(classes, list) and classes:
        if values.get("num_classes", len(classes)) != len(classes):
            message = f"is {values['num_classes']}, but there are {len(classes)} structures"
            return {}, [("num_classes", message, "remove `num_classes`: it follows from the structures")]
        if isinstance(numbers, list) and len(numbers) != len(classes):
            message = f"has {len(numbers)} numbers for {len(classes)} classes"
            return {}, [("numbers", message, "give one number for each of `classes`, in their order")]
        changes["num_classes"] = len(classes)
    return changes, []


def _decathlon(paths: Any, *, background: bool) -> dict[int, str]:
    """Read names by number from the `dataset.json` of the Medical Segmentation Decathlon.

    Raises:
        DataError: The file is not JSON.
    """
    root = paths.get("root") if isinstance(paths, dict) else None
    if not isinstance(root, str | Path):
        return {}
    return {number: name for number, name in sorted(decathlon_names(Path(root)).items()) if background or number}

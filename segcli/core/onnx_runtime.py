"""Import onnxruntime without its telemetry.

The official builds report every use to their maker, over HTTPS some seconds after the import, and keep an identifier of
the machine below the user's cache folder (`Privacy.md` in the package). `ORT_DISABLE_TELEMETRY=1` in the environment
prevents both, when it is there before the import. It is set as soon as this module is imported, because PyTorch's
exporter and onnxscript may import onnxruntime as well; processes that we start inherit it.
"""

import os
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it must never call home

from segcli.core.optional import optional

__all__ = ["load_onnxruntime"]


def load_onnxruntime(module: str = "onnxruntime", *, purpose: str) -> Any:
    """Import onnxruntime, or a module of it; nothing else in segcli does.

    Args:
        module: Its name, such as `onnxruntime.quantization`.
        purpose: What needs it, as the beginning of a sentence.

    Raises:
        ConfigError: It is not installed.
    """
    return optional(module, extra="export", purpose=purpose)

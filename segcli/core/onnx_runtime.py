"""Import onnxruntime without its telemetry.

The official builds report every use to Microsoft, over HTTPS some seconds after the import, and store an identifier of
the machine in the user's cache folder (`Privacy.md` in the package). `ORT_DISABLE_TELEMETRY=1` in the environment
prevents both if it is set before the import. It is set as soon as this module is imported, because PyTorch's exporter
and onnxscript may import onnxruntime too; child processes inherit it.
"""

import os
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it must never send usage data

from segcli.core.optional import optional

__all__ = ["load_onnxruntime"]


def load_onnxruntime(module: str = "onnxruntime", *, purpose: str) -> Any:
    """Import onnxruntime or one of its modules; no other code in segcli imports it.

    Args:
        module: Name of the module, such as `onnxruntime.quantization`.
        purpose: What needs the package, as the beginning of the error message.

    Raises:
        ConfigError: The package is not installed.
    """
    return optional(module, extra="export", purpose=purpose)

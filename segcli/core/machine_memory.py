"""Memory of this machine, against which the stated size of a file is compared before it is read."""

import psutil

__all__ = ["too_large"]


def too_large(subject: str, needed: int) -> str | None:
    """Say that something takes more memory than this machine has; None if it fits.

    Args:
        subject: What it is, as the beginning of a sentence.
        needed: Bytes.
    """
    memory = psutil.virtual_memory().total
    if needed <= memory:
        return None
    return f"{subject} takes {needed / 2**30:,.0f} GiB, but this machine has {memory / 2**30:,.0f} GiB"

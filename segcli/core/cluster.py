"""Variables by which a cluster tells a process its place in a job."""

import os

__all__ = ["cluster_job"]

VARIABLES = {
    "slurm": (
        "SLURM_JOB_ID",
        "SLURM_JOB_NAME",
        "SLURM_ARRAY_JOB_ID",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_RESTART_COUNT",
        "SLURM_JOB_PARTITION",
        "SLURM_JOB_NODELIST",
        "SLURM_NNODES",
        "SLURM_NODEID",
        "SLURM_GPUS_ON_NODE",
    ),
    "kubernetes": ("JOB_COMPLETION_INDEX",),
    "torchrun": (
        "TORCHELASTIC_RUN_ID",
        "TORCHELASTIC_RESTART_COUNT",
        "TORCHELASTIC_MAX_RESTARTS",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
    ),
}
"""Variables that are noted, by who sets them."""
POD = ("KUBERNETES_SERVICE_HOST", "HOSTNAME")
"""A pod knows Kubernetes by the first variable; the second is its name."""


def cluster_job() -> dict[str, dict[str, str]]:
    """Return the job that this process belongs to: names and values of its variables, by who sets them.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict("os.environ", {"SLURM_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}, clear=True):
        ...     cluster_job()
        {'slurm': {'SLURM_JOB_ID': '12', 'SLURM_ARRAY_TASK_ID': '3'}}
        >>> with patch.dict("os.environ", {}, clear=True):
        ...     cluster_job()
        {}
    """
    found = {who: {name: os.environ[name] for name in names if name in os.environ} for who, names in VARIABLES.items()}
    if POD[0] in os.environ and POD[1] in os.environ:
        found["kubernetes"][POD[1]] = os.environ[POD[1]]
    return {who: values for who, values in found.items() if values}

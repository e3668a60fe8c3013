"""segcli: train, check, evaluate, run, profile and export segmentation models."""

__version__ = "0.1.0"

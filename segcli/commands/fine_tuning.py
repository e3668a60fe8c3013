"""Findings of `segcli data check` about weights to start from, freezing and rates, in the words of the training."""

import torch

from segcli.config.schema import Run
from segcli.core.errors import CheckpointError, ConfigError
from segcli.data.checks import Finding
from segcli.engine.assembly import Site, assemble
from segcli.engine.runtime import choose_precision
from segcli.engine.training.stepper import freezing_of
from segcli.engine.weights import with_weights_file
from segcli.nn.rates import described_rates

__all__ = ["fine_tuning_findings"]


def fine_tuning_findings(run: Run) -> list[Finding]:
    """Describe what a training would load, freeze, and train at other rates."""
    training = run.training
    if run.model.weights is None and not training.freeze and not training.optimizer.rates:
        return []
    cpu = torch.device("cpu")
    try:
        parts = assemble(
            with_weights_file(run),
            pretrained=True,
            site=Site(cpu, choose_precision("off", cpu), lambda network, _: network),
        )
        parts.network.freeze(freezing_of(run))
        frozen = parts.network.epoch_begins(0)
        rates = described_rates(parts.network, training.optimizer.rates, parts.network.activation_layers())
    except (CheckpointError, ConfigError):
        return []  # reported as `refused_by_train`
    lines = [*parts.notes, *([f"epoch 1: {frozen}"] if frozen else []), *rates]
    return [Finding("fine_tuning", "info", None, line, "") for line in lines]

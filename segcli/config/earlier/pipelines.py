"""All earlier pipelines, and which of them an old file belongs to."""

from collections.abc import Mapping
from typing import Any

from segcli.config.earlier.cells import CELLS
from segcli.config.earlier.nuclei import NUCLEI
from segcli.config.earlier.organs import ORGANS
from segcli.config.earlier.row import Pipeline, canonical
from segcli.config.earlier.scenes import SCENES
from segcli.config.earlier.vessels import VESSELS
from segcli.core.errors import ConfigError
from segcli.core.registry import same_name

__all__ = ["PIPELINES", "recognised"]

PIPELINES = {"vessels": VESSELS, "scenes": SCENES, "organs": ORGANS, "nuclei": NUCLEI, "cells": CELLS}
"""Earlier pipelines by name."""
NETWORK_KEYS = "model model.name model.type model_name arch model.arch network"


def recognised(old: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Choose the pipeline whose signs the old keys show, and list these signs.

    Args:
        old: Old values by their keys in canonical form.

    Raises:
        ConfigError: No sign of any of them, or as many of two.
    """
    found = {name: _signs(pipeline, old) for name, pipeline in PIPELINES.items()}
    ranked = sorted(found, key=lambda name: len(found[name]), reverse=True)
    first, second = ranked[:2]
    if len(found[first]) > len(found[second]):
        return first, found[first]
    reason = (
        f"its keys fit `{first}` (`{found[first][0]}`) as well as `{second}` (`{found[second][0]}`)"
        if found[first]
        else "none of its keys tells which pipeline it belongs to"
    )
    raise ConfigError(reason, hint=f"name the pipeline: `--from {' | '.join(PIPELINES)}`")


def _signs(pipeline: Pipeline, old: Mapping[str, Any]) -> list[str]:
    """List the keys, and the name of the network, that only this pipeline had."""
    there = {*old, *(key.partition(".")[0] for key in old)}
    keys = [sign for sign in pipeline.signs.split() if canonical(sign) in there]
    networks = [old[canonical(key)] for key in NETWORK_KEYS.split() if canonical(key) in old]
    names = {same_name(sign) for sign in pipeline.signs.split()}
    return [*keys, *(str(name) for name in networks if isinstance(name, str) and same_name(name) in names)]

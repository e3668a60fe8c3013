"""`segcli predict`: hands inputs to the part that is about what the networks find, and in what."""

from collections.abc import Sequence

from segcli.commands.predict_images import PredictOptions, predict_images
from segcli.core.errors import ConfigError
from segcli.engine.events import Listener
from segcli.engine.inference.predictor import Candidate, Overrides, Predictor, ensemble
from segcli.files import endings
from segcli.report.results import Predicted

__all__ = ["predict"]


def predict(
    inputs: Sequence[str],
    networks: Sequence[Candidate],
    overrides: Overrides,
    options: PredictOptions,
    *,
    listener: Listener,
) -> Predicted:
    """Write what one network, or several together, find in the inputs: masks, or a table of classes.

    Args:
        inputs: Files, folders and globs.
        networks: Those that predict; no weights are read before it is clear that they go together.
        overrides: What was set in place of what the networks say.
        options: What is written.
        listener: Hears what happens.

    Raises:
        ConfigError: The networks do not go together, a result would overwrite a file, or an option does not apply.
        DataError: No input can be predicted.
        SegcliError: A network or the device fail.
    """
    first = networks[0]
    for other in networks[1:]:
        if other.task is not first.task:
            raise ConfigError(
                f"`{first.source}` and `{other.source}` differ in the task ({first.task.__name__} and "
                f"{other.task.__name__})",
                hint="networks that are averaged were trained for one task",
            )
    if not first.task.has_pixels:
        from segcli.commands.classify import classify  # noqa: PLC0415 - images do not need it

        return classify(inputs, [network.open for network in networks], overrides, options, listener=listener)

    def opened() -> Predictor:
        return ensemble([network.open() for network in networks])

    command = predict_images
    if first.layout.ndim == 3:
        from segcli.commands.predict_volumes import predict_volumes as command  # noqa: PLC0415 - loads h5py
    return command(inputs, opened, options, endings=endings(first.layout.ndim), listener=listener)

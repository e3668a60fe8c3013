"""Make a class or function of the user's own a learning-rate schedule."""

import inspect
import math
from typing import Any

from segcli.core.errors import ConfigError
from segcli.core.own_code import Code, blamed, called, is_called, of_contract, options_of, refuse_kind
from segcli.core.types import ConfigModel
from segcli.schedulers import Horizon, Schedule

__all__ = ["adapted"]


def adapted(found: Any, code: Code) -> type[Schedule]:
    """Make `found` a schedule: a subclass of `Schedule`, or a class or function from progress to a factor of the rate.

    The progress is 0 at the first step after the warm-up and 1 at the end of the training. So it needs no state, and a
    resumed run goes on with the same rates.

    Raises:
        ConfigError: It is neither.
    """
    if inspect.isclass(found) and issubclass(found, Schedule):
        kind: type[Schedule] = of_contract(found, code, contract=Schedule)
        return kind
    if is_called(found):
        return _wrapped(found, code)
    raise refuse_kind(code, found, "a subclass of `Schedule`, or is called with the progress, from 0 to 1")


def _wrapped(found: Any, code: Code) -> type[Schedule]:
    is_class = inspect.isclass(found)

    class Own(Schedule):
        """A schedule of the user's own."""

        Config = options_of(found, code, given=0 if is_class else 1)

        def __init__(self, config: ConfigModel, *, base_lr: float, horizon: Horizon) -> None:
            super().__init__(config, base_lr=base_lr, horizon=horizon)
            with blamed(code):
                self.own = called(found, config)

        def after_warmup(self, step: int) -> float:
            """Compute the rate after the warm-up."""
            with blamed(code):
                factor = float(self.own(self.progress(step)))
            if not math.isfinite(factor) or factor < 0.0:
                raise ConfigError(f"scheduler `{code.shown}` gives the factor {factor}, expected a number from 0 up")
            return self.base_lr * factor

    Own.__name__, Own.__doc__ = found.__name__, found.__doc__
    return Own

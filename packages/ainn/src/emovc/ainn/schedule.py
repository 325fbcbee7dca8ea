"""The learning rate of both stages."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmed_up(optimizer: Optimizer, steps: int) -> Any:
    """The optimiser with a learning rate that rises linearly over its first steps.

    Args:
        optimizer: The optimiser.
        steps: Steps of the rise; 0 for none.

    Returns:
        What ``configure_optimizers`` returns.
    """
    schedule = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(steps, 1)))
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": schedule, "interval": "step"},
    }

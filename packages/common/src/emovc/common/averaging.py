"""Moving averages of weights."""

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """Validates, saves and exports the exponential moving average of a model's weights.

    What doesn't change stays exactly as it is, so that a frozen network inside the model is still
    known by the hash of its weights; decay * average + (1 - decay) * weight, as Lightning's own
    callback has it, moves it a little by rounding at every step. Integers are taken as they are.

    Args:
        decay: Share of the average that is kept at each step, from 0 to below 1.
        ramp: At step t no more than (1 + t) / (10 + t) is kept, so that the first weights, which
            hold nothing yet, are soon forgotten: with a decay of .999 they would still be 37 % of
            the average after 1000 steps.
    """

    def __init__(self, decay: float = 0.999, ramp: bool = False) -> None:
        def moved(average: Tensor, weight: Tensor, steps: Tensor | int) -> Tensor:
            """The average after one more step."""
            if not average.is_floating_point():
                return weight
            kept = min(decay, (1 + int(steps)) / (10 + int(steps))) if ramp else decay
            return torch.lerp(average, weight.to(average), 1 - kept)

        super().__init__(use_buffers=True, avg_fn=moved)

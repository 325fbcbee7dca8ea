"""From a trained quantiser to one whose probabilities are tables of integers."""

from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.search import nearest_codes
from emovc.genner_tts.tables import TablePrior


def tabulate(
    quantizer: EmotionQuantizer, e: Tensor, n_levels: int = 16, rounds: int = 3
) -> EmotionQuantizer:
    """Give the codes of a quantiser a prior that any machine computes alike.

    At each level of lambda, tables are counted from the codes that they themselves lead to, from
    those of the nearest codes on (Chou, Lookabaugh and Gray, "Entropy-constrained vector
    quantization", IEEE TASSP 1989). They see no context, so they cost more bits than a network.

    Args:
        quantizer: The quantiser, which is left as it is.
        e: Training embeddings, (N, D).
        n_levels: Levels of lambda.
        rounds: How often the codes are chosen and counted.

    Raises:
        UserError: The embeddings are frames, or the quantiser has no codes.
    """
    if e.ndim != 2:
        raise UserError("tabulate: needs embeddings (items, size); flatten frames first")
    settings = {**quantizer.settings, "prior": "tables", "n_levels": n_levels, "recurrent": False}
    made = EmotionQuantizer(**settings).to(e.device)
    made.codebooks.load_state_dict(quantizer.codebooks.state_dict())
    made.space.load_state_dict(quantizer.space.state_dict())
    prior = made.prior
    assert isinstance(prior, TablePrior)
    x = made.space(e)
    nearest = nearest_codes(made.codebooks, x)
    for level, lam in enumerate(prior.levels):
        prior.fit(level, nearest)
        for _ in range(rounds):
            prior.fit(level, made.choose(x, lam.expand(len(x))).indices)
    made.pretrained = quantizer.pretrained
    return made.eval()

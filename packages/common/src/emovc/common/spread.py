"""A few utterances of many, spread over speakers and emotions."""

from collections.abc import Sequence

from emovc.common.files import short_hash
from emovc.common.manifest import Utterance


def choose_spread(utterances: Sequence[Utterance], count: int, seed: int) -> list[Utterance]:
    """So many utterances that speakers and emotions take turns.

    The order depends on the audio and the seed alone, so that fewer are the first of more.

    Args:
        utterances: Utterances to choose from.
        count: How many; all if there are fewer.
        seed: Seed of the order.
    """
    own = sorted(utterances, key=lambda u: (short_hash([seed, u.sha256]), u.id))
    turns: dict[tuple[str, str | None], int] = {}
    ranks = []
    for u in own:
        ranks.append(turns.get((u.speaker, u.emotion), 0))
        turns[u.speaker, u.emotion] = ranks[-1] + 1
    order = sorted(range(len(own)), key=lambda i: (ranks[i], i))
    return [own[i] for i in order[:count]]

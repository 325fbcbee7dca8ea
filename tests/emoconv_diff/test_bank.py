"""The bank of emotion vectors: means by hand, and what averaging of weights leaves of it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from emovc.common.emotion_hearing import EmotionHearing, hash_in, put_hash
from emovc.common.errors import UserError
from emovc.emoconv_diff.bank import LEVELS, EmotionBank, Labelled, nearest_level

WEIGHTS = "00ff0180a97e"


def row(
    name: str, vector: list[float], arousal: float | None = None, emotion: str | None = None
) -> Labelled:
    """An utterance with a vector of two numbers."""
    return Labelled(name, np.array(vector, np.float32), arousal, emotion)


def one_per_level(*levels: int) -> EmotionBank:
    """A bank that holds (level, -level^2) for each level."""
    bank = EmotionBank(2)
    bank.fill([row(f"u{level}", [level, -(level**2)], level) for level in levels])
    return bank


def close(found: Tensor, wanted: list[float]) -> bool:
    """Whether a vector holds these numbers."""
    return torch.allclose(found, found.new_tensor(wanted), atol=1e-6, rtol=1e-6)


def test_a_level_is_the_mean_of_the_nearest_fifth_of_its_utterances() -> None:
    bank = EmotionBank(2)
    far = [row(f"far{i}", [100.0, 100.0], 4.4) for i in range(4)]
    members = bank.fill([*far, row("b", [1.0, 2.0], 3.9), row("a", [4.0, -8.0], 4.0)])
    assert members["4"] == ["a", "b"]  # a fifth of 6, rounded up
    assert close(bank.at(4.0), [2.5, -3.0])
    assert bank.level_counts.tolist() == [0, 0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize(("count", "taken"), [(1, 1), (4, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_a_fifth_is_rounded_up(count: int, taken: int) -> None:
    members = EmotionBank(1).fill([row(f"u{i:02}", [i], 2.0) for i in range(count)])
    assert members["2"] == [f"u{i:02}" for i in range(taken)]


def test_of_equally_near_utterances_the_first_ids_count_in_any_order() -> None:
    rows = [
        row(name, [0.0, 0.0], a) for name, a in zip("dacb", (4.25, 3.75, 3.75, 4.25), strict=True)
    ]
    for order in (rows, rows[::-1]):
        assert EmotionBank(2).fill(order, share=0.5)["4"] == ["a", "b"]


def test_a_category_is_the_mean_of_all_its_utterances_rated_or_not() -> None:
    bank = EmotionBank(2)
    bank.fill([row("a", [1.0, 0.0], 2.0, "sad"), row("b", [2.0, 6.0], None, "sad"),
               row("c", [9.0, 9.0], 2.0, "happy"), row("d", [50.0, 50.0], 2.0)])  # fmt: skip
    assert close(bank.of("sad"), [1.5, 3.0]) and close(bank.of("happy"), [9.0, 9.0])


def test_utterances_without_arousal_are_in_no_level() -> None:
    bank = EmotionBank(2)
    members = bank.fill([row("a", [1.0, 1.0], 7.0), row("b", [5.0, 5.0], None, "angry")], share=1.0)
    assert members == {str(level): ["a"] if level == 7 else [] for level in LEVELS}
    with pytest.raises(UserError, match="has an arousal; make pseudo-labels"):
        EmotionBank(2).fill([row("b", [5.0, 5.0], None, "angry")])


def test_a_whole_level_is_its_vector_and_between_levels_lies_a_straight_line() -> None:
    bank = one_per_level(*LEVELS)
    for level in LEVELS:
        assert torch.equal(bank.at(float(level)), bank.levels[level - 1])
        assert close(bank.at(level), [level, -(level**2)])
    for arousal in (1.25, 3.5, 6.9):
        low, share = math.floor(arousal), arousal % 1
        square = low**2 + share * ((low + 1) ** 2 - low**2)
        assert close(bank.at(arousal), [arousal, -square])


def test_a_level_without_references_is_refused_with_those_there_are() -> None:
    bank = one_per_level(2, 3, 7)
    assert close(bank.at(7.0), [7.0, -49.0]) and close(bank.at(2.5), [2.5, -6.5])
    for arousal, level in ((1.0, 1), (1.5, 1), (3.5, 4), (6.5, 6)):
        line = f"arousal {arousal:g}: the model has no references of level {level}; it has 2, 3, 7"
        with pytest.raises(UserError, match=line):
            bank.at(arousal)


def test_a_category_without_references_is_refused_with_those_there_are() -> None:
    bank = EmotionBank(2)
    with pytest.raises(UserError, match="emotion 'sad': the model has no .* it has none"):
        bank.of("sad")
    bank.fill([row("a", [1.0, 0.0], 2.0, "bored"), row("b", [2.0, 6.0], 2.0, "angry")])
    with pytest.raises(UserError, match="emotion 'sad': .* it has angry, bored"):
        bank.of("sad")


@pytest.mark.parametrize(
    ("arousal", "level"),
    [(1.0, 1), (1.49, 1), (1.5, 2), (2.5, 3), (3.5, 4), (6.49, 6), (6.5, 7), (0.2, 1), (9.0, 7)],
)
def test_the_nearest_level_rounds_halves_up_and_stays_within_1_to_7(
    arousal: float, level: int
) -> None:
    assert nearest_level(arousal) == level


def test_filling_anew_forgets_the_former_members() -> None:
    bank = one_per_level(1, 2)
    bank.fill([row("x", [8.0, 8.0], 2.0)])
    assert close(bank.at(2.0), [8.0, 8.0])
    with pytest.raises(UserError, match="no references of level 1; it has 2,"):
        bank.at(1.0)


def test_averaging_of_weights_leaves_every_bit_of_the_bank_and_the_hashes() -> None:
    torch.manual_seed(0)
    bank, hearing, layer = EmotionBank(128), EmotionHearing(), nn.Linear(2, 2)
    rng = np.random.default_rng(0)
    rows = [
        Labelled(f"u{i}", rng.normal(size=128).astype(np.float32), 1 + i % 7, "happy")
        for i in range(40)
    ]
    bank.fill(rows)
    put_hash(hearing.weights_key, WEIGHTS)
    module = nn.ModuleDict({"bank": bank, "hearing": hearing, "layer": layer})
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
    for _ in range(50):
        nn.init.normal_(layer.weight)
        averaged.update_parameters(module)
    found = averaged.module.state_dict()
    for name, value in module.state_dict().items():
        same = torch.equal(found[name], value)
        assert same == (name != "layer.weight"), name
    assert hash_in(found["hearing.weights_key"]) == WEIGHTS

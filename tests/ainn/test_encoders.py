"""The encoders: categories, what is heard, and the mean vector of each category."""

import pytest
import torch
from tests.ainn.networks import CATEGORIES, CODE_DIM, EMOTION_DIM, N_MELS, mask_of, small_encoders

from emovc.ainn import ContentEncoder, EmotionEncoder, Encoders, calibrate
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError


def test_indices_of_all_emotions_become_rows_of_the_head() -> None:
    encoders = small_encoders()
    rows = encoders.category_of[torch.arange(len(EMOTIONS))].tolist()
    for emotion, row in zip(EMOTIONS, rows, strict=True):
        assert row == (CATEGORIES.index(emotion) if emotion in CATEGORIES else -1)
    assert encoders.category_of[-1] == -1  # unlabelled
    assert [encoders.index(emotion) for emotion in CATEGORIES] == [0, 1, 2, 3, 4]


def test_a_foreign_category_is_refused() -> None:
    with pytest.raises(UserError, match="emotion 'cheerful' is not one of neutral, angry"):
        Encoders(ContentEncoder(), EmotionEncoder(), ["neutral", "cheerful"])
    with pytest.raises(UserError, match="'fear' is not one of the model's: use neutral, happy"):
        small_encoders().index("fear")


def test_the_likeliest_category_is_taken_unless_one_is_given() -> None:
    encoders, mel, mask = small_encoders(), 3 * torch.randn(3, N_MELS, 30), mask_of(30, 20, 10)
    heard = encoders.hear(mel, mask)
    assert torch.equal(heard.category, heard.logits.argmax(1))
    other = (heard.category + 1) % len(CATEGORIES)
    told = encoders.hear(mel, mask, other)
    assert torch.equal(told.category, other) and torch.equal(told.logits, heard.logits)
    assert not torch.allclose(told.vector, heard.vector)
    torch.testing.assert_close(calibrate(told.features, told.cue), told.vector)
    torch.testing.assert_close(encoders.strength(told.vector), told.strength)
    assert 0 <= told.strength.min() and told.strength.max() <= 1


def test_what_a_block_of_the_content_encoder_adds_forgets_the_gain() -> None:
    block = ContentEncoder(N_MELS, 16, CODE_DIM, 1).blocks[0]
    x, mask = torch.randn(1, 16, 40), torch.ones(1, 1, 40)
    with torch.no_grad():
        one, other = block(x, mask) - x, block(7 * x, mask) - 7 * x
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_constant_vectors_are_their_own_mean() -> None:
    encoders = small_encoders()
    happy, sad = torch.randn(EMOTION_DIM), torch.randn(EMOTION_DIM)
    for _ in range(50):
        encoders.remember(torch.stack([happy, sad, happy]), torch.tensor([1, 3, 1]))
    torch.testing.assert_close(encoders.mean_vector("happy"), happy)
    torch.testing.assert_close(encoders.mean_vector("sad"), sad)
    assert torch.isfinite(encoders.sums).all() and encoders.sums[[0, 2, 4]].eq(0).all()


def test_the_mean_of_one_batch_is_its_mean_and_later_batches_weigh_more() -> None:
    encoders, vectors = small_encoders(), torch.randn(6, EMOTION_DIM)
    category = torch.tensor([0, 2, 0, 2, 0, 0])
    encoders.remember(vectors, category)
    torch.testing.assert_close(encoders.mean_vector("neutral"), vectors[category == 0].mean(0))
    torch.testing.assert_close(encoders.mean_vector("angry"), vectors[[1, 3]].mean(0))
    encoders.remember(vectors[3:], torch.tensor([2, 2, 2]))
    old, new = 2 * 0.999**3, 3.0  # each utterance lets the older ones decay
    wanted = (old * vectors[[1, 3]].mean(0) + new * vectors[3:].mean(0)) / (old + new)
    torch.testing.assert_close(encoders.mean_vector("angry"), wanted)


def test_a_category_left_out_of_a_batch_keeps_its_mean() -> None:
    encoders, vectors = small_encoders(), torch.randn(4, EMOTION_DIM)
    encoders.remember(vectors[:2], torch.tensor([0, 1]))
    for _ in range(20):
        encoders.remember(vectors[2:], torch.tensor([1, 1]))
    torch.testing.assert_close(encoders.mean_vector("neutral"), vectors[0])
    assert encoders.weights[0] == 1 and encoders.weights[1] > 30


def test_averages_of_the_buffers_give_averages_of_the_means() -> None:
    """As an average over the weights of a training does it."""
    one, two, both = small_encoders(), small_encoders(), small_encoders()
    vectors = torch.randn(2, EMOTION_DIM)
    for encoders, vector in ((one, vectors[:1]), (two, vectors[1:])):
        encoders.remember(vector, torch.tensor([4]))
    both.sums.copy_(0.9 * one.sums + 0.1 * two.sums)
    both.weights.copy_(0.9 * one.weights + 0.1 * two.weights)
    wanted = 0.9 * vectors[0] + 0.1 * vectors[1]
    torch.testing.assert_close(both.mean_vector("surprise"), wanted)


def test_means_travel_with_the_weights() -> None:
    one, other = small_encoders(), small_encoders()
    one.remember(torch.randn(1, EMOTION_DIM), torch.tensor([0]))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.mean_vector("neutral"), other.mean_vector("neutral"))


@pytest.mark.parametrize("emotion", ["happy", "fear"])
def test_a_category_never_heard_has_no_mean(emotion: str) -> None:
    encoders = small_encoders()
    encoders.remember(torch.randn(1, EMOTION_DIM), torch.tensor([0]))
    with pytest.raises(UserError, match=f"never heard {emotion} speech in training"):
        encoders.mean_vector(emotion)

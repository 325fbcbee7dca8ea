"""Batches joined and cut."""

import torch

from emovc.common.batch import Batch, Sample, collate, concatenate, first


def sample(name: str, samples: int, frames: int) -> Sample:
    """An utterance with features per frame, of one and of two dimensions, and per utterance."""
    wav = torch.arange(1.0, samples + 1)
    features = {
        "f0": torch.arange(1.0, frames + 1),
        "ssl": torch.arange(1.0, 3 * frames + 1).view(frames, 3),
        "dvector": torch.full((4,), float(samples)),
    }
    return Sample(name, wav, speaker=samples % 3, emotion=frames % 4, features=features)


def two() -> tuple[Batch, Batch]:
    """Batches of other lengths, the first with partners."""
    partners = (sample("p", 3, 2),)
    short = collate([sample("a", 5, 2)._replace(partners=partners)])
    return short, collate([sample("b", 9, 4), sample("c", 7, 3)])


def test_joined_batches_are_the_batch_of_all_their_utterances() -> None:
    short, long = two()
    wanted = collate([sample("a", 5, 2), sample("b", 9, 4), sample("c", 7, 3)])
    for found, parts in ((concatenate([short, long]), wanted), (concatenate([long]), long)):
        assert found.ids == parts.ids and found.partners == ()
        for name in ("wav", "lengths", "speaker", "emotion"):
            assert torch.equal(getattr(found, name), getattr(parts, name))
        assert found.features.keys() == parts.features.keys()
        for name, values in parts.features.items():
            assert torch.equal(found.features[name], values)


def test_the_longest_may_come_first() -> None:
    short, long = two()
    found = concatenate([long, short])
    assert found.ids == ["b", "c", "a"] and found.lengths.tolist() == [9, 7, 5]
    assert found.wav[2].tolist() == [1, 2, 3, 4, 5, 0, 0, 0, 0]
    assert found.features["f0"][2].tolist() == [1, 2, 0, 0]
    assert found.features["ssl"].shape == (3, 4, 3)
    assert found.features["ssl"][2, 2:].eq(0).all()
    assert found.features["dvector"][:, 0].tolist() == [9, 7, 5]


def test_the_parts_of_a_joined_batch_are_left_as_they_were() -> None:
    short, long = two()
    joined = concatenate([short, long])
    joined.wav.zero_()
    assert short.wav.tolist() == [[1, 2, 3, 4, 5]] and len(short.partners) == 1


def test_the_first_utterances_come_without_partners_and_keep_their_padding() -> None:
    pairs = collate(
        [sample(n, s, f)._replace(partners=(sample("p", 3, 2),)) for n, s, f in
         (("a", 5, 2), ("b", 9, 4), ("c", 7, 3))]
    )  # fmt: skip
    found = first(pairs, 1)
    assert found.ids == ["a"] and found.partners == () and len(pairs.partners) == 1
    assert found.wav.tolist() == [[1, 2, 3, 4, 5, 0, 0, 0, 0]]
    assert found.lengths.tolist() == [5] and found.speaker.tolist() == [2]
    assert found.emotion.tolist() == [2] and found.features["dvector"].shape == (1, 4)
    assert found.features["f0"].tolist() == [[1, 2, 0, 0]]
    everything = first(pairs, 3)
    assert everything.ids == pairs.ids and torch.equal(everything.wav, pairs.wav)

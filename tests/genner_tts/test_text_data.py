"""Batches with phones, and the table in which a model keeps them."""

import dataclasses
from pathlib import Path

import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.splits import assign_split
from emovc.genner_tts.durations_file import Timed, write_durations
from emovc.genner_tts.inventory import PhoneInventory
from emovc.genner_tts.phone_table import PhoneTable
from emovc.genner_tts.phonemes import pronounce
from emovc.genner_tts.text_data import TextDataModule


def mixed(toy: Path, name: str, *changed: Utterance) -> Path:
    """A manifest whose parts have the same sentences, with some rows changed."""
    path, other = toy.parent / name, {u.id: u for u in changed}
    rows = assign_split([dataclasses.replace(u, split=None) for u in read_manifest(toy)], "random")
    write_manifest(path, [other.get(u.id, u) for u in rows])
    return path


def test_a_batch_has_phones_words_and_durations(toy: Path) -> None:
    manifest = mixed(toy, "text.jsonl")
    rows = read_manifest(manifest)
    timed = {}
    for u in rows:
        said = pronounce(str(u.text), "en")
        frames = [1] * (len(said.phones) - 1)
        timed[u.sha256] = Timed(said.phones, [*frames, u.num_samples // 256 - len(frames)])
    made = {"source": "test", "sample_rate": 22_050, "hop_length": 256, "weights": None}
    write_durations(toy.parent / "text.durations", made, timed)
    data = TextDataModule(manifest, durations=toy.parent / "text.durations", batch_size=4)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    phones, words = batch.features["phones"], batch.features["words"]
    assert torch.equal(phones > 0, words > 0)
    for i, name in enumerate(batch.ids):
        said = data.pronunciations[name]
        count = len(said.phones)
        assert [data.inventory.symbols[k - 1] for k in phones[i, :count]] == said.phones
        assert words[i, :count].tolist() == [unit + 1 for unit in said.units]
        assert not phones[i, count:].any()
    assert batch.features["durations"].sum(1).tolist() == (batch.lengths // 256).tolist()
    with pytest.raises(UserError, match="has sample_rate 22050, the model's mel 16000"):
        TextDataModule(manifest, 16_000, durations=toy.parent / "text.durations").setup("fit")


def test_what_can_not_be_used_is_left_out_and_counted(toy: Path) -> None:
    first, second, third, *_ = (u for u in read_manifest(toy) if u.split == "train")
    change = dataclasses.replace
    bad = [
        change(first, text=None),
        change(second, text="日"),
        change(third, text="one two three four five " * 50),
    ]
    data = TextDataModule(mixed(toy, "bad.jsonl", *bad))
    with pytest.warns(UserWarning, match="3 utterances can't be used and are left out"):
        data.setup("fit")
    assert len(data.utterances) == len(read_manifest(toy)) - 3
    everything = [change(u, language=None) for u in read_manifest(toy)]
    with pytest.raises(UserError, match="no utterance can be used; toy/.*no language"):
        TextDataModule(mixed(toy, "bad.jsonl", *everything)).setup("fit")


def test_phones_of_no_training_text_are_not_evaluated(toy: Path) -> None:
    with pytest.warns(UserWarning, match="needs the phones"):
        data = TextDataModule(toy)
        data.setup("fit")
    assert {u.split for u in data.utterances} == {"train"}


def test_a_table_keeps_phones_with_the_weights() -> None:
    inventory = PhoneInventory(["#", "ˈɔːɹ", "t͡ɕ"])
    table, other = PhoneTable(6), PhoneTable(6)
    with pytest.raises(UserError, match="knows no phones yet"):
        _ = table.inventory
    table.fill(inventory)
    other.load_state_dict(table.state_dict())
    assert other.inventory.symbols == inventory.symbols
    assert other.rows_of(PhoneInventory(["t͡ɕ", "#"])).tolist() == [0, 3, 1]
    with pytest.raises(UserError, match="n_phones 3: the training texts have 3 phones"):
        PhoneTable(3).fill(inventory)
    with pytest.raises(UserError, match="data.alphabet ipa: the model has arpabet"):
        PhoneTable(6, "arpabet").fill(inventory)

"""What a run needs stays, whatever callbacks its config lists, unless switched off by name."""

from pathlib import Path

import lightning as L
import pytest
import yaml
from tests.integration.runs import fit_words

from emovc.common.callbacks import GradientGuard
from emovc.common.checkpoints import LastCheckpoint
from emovc.common.errors import UserError
from emovc.common.fit import cli, main
from emovc.common.needed_callbacks import with_needed

NEEDED = ["RunLock", "Progress", "GradientGuard", "ExactResume", "LastCheckpoint", "Interrupts"]


class Own(L.Callback):
    """A callback of a user."""


class Rarer(LastCheckpoint):
    """A user's version of one that is needed."""


def names(callbacks: list[L.Callback]) -> list[str]:
    return [type(callback).__name__ for callback in callbacks]


def test_a_list_of_ones_own_replaces_none_that_is_needed() -> None:
    assert names(with_needed([])) == NEEDED
    assert names(with_needed([Own()])) == [*NEEDED[:5], "Own", "Interrupts"]


def test_those_listed_keep_their_arguments_and_stand_for_theirs() -> None:
    skipping, rarer = GradientGuard("skip"), Rarer(7)
    found = with_needed([skipping, rarer, Own()])
    assert found[3:6] == [skipping, rarer, found[5]] and len(found) == 7
    assert sorted(names(found)) == sorted([*NEEDED[:4], "Rarer", "Own", "Interrupts"])


@pytest.mark.parametrize("name", NEEDED)
def test_each_can_be_switched_off_by_name(name: str) -> None:
    left = [n for n in NEEDED if n != name]
    assert names(with_needed([], [name])) == left  # type: ignore[list-item]


def test_switching_off_wins_over_the_list_of_the_defaults() -> None:
    assert "LastCheckpoint" not in names(with_needed([LastCheckpoint()], ["LastCheckpoint"]))


def test_a_config_with_its_own_list_can_be_resumed(toy: Path, tmp_path: Path) -> None:
    own = f"--trainer.callbacks=[{{class_path: {__name__}.Own}}]"
    run = cli(fit_words(toy, tmp_path / "run", 1, [own, "--without=[Progress]"]))
    built = names(run.trainer.callbacks)  # type: ignore[attr-defined]
    assert {"Own", *NEEDED} - set(built) == {"Progress"}
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["without"] == ["Progress"]
    checked = cli(["validate", "-c", str(tmp_path / "run" / "config.yaml")])
    assert not set(NEEDED) & set(names(checked.trainer.callbacks))  # type: ignore[attr-defined]


def test_a_misspelt_name_is_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without.*ExactRessume") as error:
        main("fit", fit_words(toy, tmp_path / "run", 1, ["--without=[ExactRessume]"])[1:])
    assert "\n" not in str(error.value)

"""Training and its kin: Lightning's command line with the few things a run needs beside it."""

import os
import subprocess
import uuid
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NoReturn

import wandb
import yaml
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from emovc.common.audio import LogMel
from emovc.common.callbacks import EpochBar
from emovc.common.errors import UserError
from emovc.common.files import remove_leftovers, write_json, write_text
from emovc.common.interrupts import Interrupts
from emovc.common.needed_callbacks import Needed, with_needed
from emovc.common.parsing import one_line, reason_of
from emovc.common.pretrained import find_checkpoint, read_checkpoint
from emovc.common.quiet import quieten
from emovc.common.run_record import read_run_id
from emovc.common.signals import INTERRUPTED, TERMINATED
from emovc.common.trust import foreign_packages
from emovc.common.yaml_files import read_yaml

KEYS = (  # that stand at the top of configs
    "seed_everything", "run", "resume", "model", "data", "trainer", "optimizer", "lr_scheduler",
    "ckpt_path", "weights_only", "verbose", "return_predictions", "without",
)  # fmt: skip
FRONTEND = "model.init_args.model.init_args.frontend.init_args"


class RunParser(LightningArgumentParser):
    """Lightning's parser with errors of one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message, without the lines jsonargparse breaks it into."""
        if isinstance(ex, UserError):
            raise ex
        raise UserError(one_line(message)) from None


class RunRecord(SaveConfigCallback):
    """Writes the resolved config beside the checkpoints and gives it to every logger.

    Lightning alone logs the model's arguments only; comparing runs needs corpus, split, seed, mel
    and code version too.
    """

    record: dict[str, Any] = {}

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called on rank zero before the run starts."""
        if stage != "fit":
            return
        text = self.parser.dump(self.config, skip_none=False)
        path = Path(trainer.default_root_dir) / "config.yaml"
        if not (self.config.resume and path.exists()):
            write_text(path, text)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        mels = (m.mel_id for m in pl_module.modules() if isinstance(m, LogMel))
        self.record = {
            "corpus": ",".join(sorted({u.corpus for u in data.utterances})),
            "split_id": data.split_id,
            "seed": data.seed,
            "mel_id": next(mels, None),
            "commit": code_version(),
            "trust": foreign_packages(pl_module.hparams.get("model")),
        }
        for package in self.record["trust"]:
            rank_zero_info(f"{package}: not of emovc; --trust {package} will load this run")
        for logger in trainer.loggers:
            logger.log_hyperparams({**yaml.safe_load(text), **self.record})

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a checkpoint say where it is from."""
        checkpoint["record"] = self.record


def code_version() -> str:
    """Commit of the checkout this code runs from, with a mark if files differ, or ``unknown``."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return result.stdout.strip() or "unknown"


class RunCLI(LightningCLI):
    """Lightning's command line plus the run's folder and the links from model to data."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Use the parser with short errors. The signature is Lightning's."""
        parser = RunParser(**{**kwargs, "allow_abbrev": False})
        parser.add_argument("-c", "--config", action="config", help="YAML file; later ones win.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder, and link what the user states once.

        Links go from model to data only: Lightning loses the others in checkpoints.
        """
        parser.add_argument("--run", type=str | None, default=None, help="Folder of the run.")
        parser.add_argument(
            "--resume",
            type=bool | Literal["auto"],
            default=False,
            help="Go on with the run in that folder; auto begins it where there is none.",
        )
        parser.add_argument(
            "--without",
            type=list[Needed],
            default=[],
            help="Callbacks to train without, of those that stay whatever trainer.callbacks lists.",
        )
        for name in ("sample_rate", "hop_length"):
            parser.link_arguments(f"{FRONTEND}.{name}", f"data.init_args.{name}")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=_seed)

    def before_instantiate_classes(self) -> None:
        """Point everything that writes to the run's folder."""
        config = self.config if self.subcommand is None else self.config[self.subcommand]
        folder = Path(config.run or "runs/unnamed")
        if self.subcommand != "fit":
            self._only_read(config, folder)
            return
        remove_leftovers(folder)
        last = _newest_state(folder)
        if config.resume:
            if config.ckpt_path is not None:
                raise UserError("--resume and --ckpt_path: both name a checkpoint; give one")
            if config.resume != "auto" and last is None:
                raise UserError(
                    f"{folder}: holds no run to resume; correct --run, or give --resume=auto to"
                    " begin one where there is none"
                )
            config.ckpt_path = None if last is None else str(last)
            if last is not None:
                read_checkpoint(last)  # a damaged one is named before anything is built
        elif any((folder / "checkpoints").glob("[!.]*.ckpt")):
            raise UserError(
                f"{folder}: holds a run; add --resume=true to go on with it, or --run OTHER"
            )
        config.trainer.default_root_dir = str(folder)
        for logger in _loggers(config.trainer.logger):
            _place_logger(logger, folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer, with what a run needs, and our bar unless there is to be none."""
        config = self._get(self.config_init, "trainer")
        kwargs["callbacks"] = list(config.callbacks or [])
        if self.subcommand == "fit":
            without = self._get(self.config_init, "without")
            kwargs["callbacks"] = with_needed(kwargs["callbacks"], without)
        if config.enable_progress_bar is not False:
            kwargs["callbacks"].append(EpochBar())
        return super().instantiate_trainer(**kwargs)

    def _only_read(self, config: Any, folder: Path) -> None:
        """Set up a command that reads a run: its last checkpoint, and no logs of training."""
        config.trainer.logger = False
        config.trainer.callbacks = []
        if self.subcommand is None:
            return
        if config.ckpt_path is None:
            config.ckpt_path = str(find_checkpoint(folder))
        read_checkpoint(Path(config.ckpt_path))
        if self.subcommand == "predict":
            config.return_predictions = False  # they are written, and may not fit into memory
            arguments = Namespace(folder=str(folder / "predictions"))
            writer = "emovc.common.predictions.PredictionFiles"
            config.trainer.callbacks = [Namespace(class_path=writer, init_args=arguments)]

    def _parse_ckpt_path(self) -> None:
        """Let the config win over the checkpoint's arguments.

        Lightning does the reverse: resuming with another learning rate would silently train with
        the old one (Lightning-AI/pytorch-lightning#21455).
        """


def _seed(value: Any) -> int:
    """Seed of the data: ``seed_everything`` may also be true or false."""
    return 0 if isinstance(value, bool) or value is None else int(value)


def _newest_state(folder: Path) -> Path | None:
    """The checkpoint to resume from: ours, or Lightning's when SLURM took the machine away."""
    slurm = [*folder.glob("hpc_ckpt_*.ckpt"), *(folder / "checkpoints").glob("hpc_ckpt_*.ckpt")]
    last = folder / "checkpoints" / "last.ckpt"
    found = [path for path in (last, *slurm) if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _loggers(given: Any) -> list[Any]:
    """The loggers of a config: a list, one alone, or none.

    Raises:
        UserError: It is ``true``, which is Lightning's own choice of a logger.
    """
    if given is True:
        raise UserError(
            "trainer.logger: true would be Lightning's logger; leave it out for CSV and W&B, or"
            " write false or a list of class_path and init_args"
        )
    if not given:
        return []
    return given if isinstance(given, list) else [given]


def _place_logger(logger: Any, folder: Path) -> None:
    """Fill in folder, name and identity of a logger that asks for them."""
    arguments = logger.init_args
    if "save_dir" in arguments and arguments.save_dir is None:
        arguments.save_dir = str(folder)
    if "run_id" in arguments and arguments.run_id is None:
        record = folder / "run.json"
        agent = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        if agent:  # W&B keeps the id that its agent gave, whatever it is asked for
            write_json(record, {"id": agent})
        elif not record.exists():
            # The letter in front: W&B's id goes through YAML, where 12e456789012 is a number.
            write_json(record, {"id": f"r{uuid.uuid4().hex[:11]}"})
        arguments.run_id = read_run_id(folder)
        arguments.name = arguments.name or "/".join(folder.parts[-2:])


def cli(args: ArgsType = None, run: bool = True) -> RunCLI:
    """Parse ``args`` (default: the command line), build the objects, run the subcommand."""
    quieten()
    defaults = {"default_config_files": [str(files("emovc.common") / "defaults.yaml")]}
    try:
        return RunCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=1234,
            save_config_callback=RunRecord if run else None,
            save_config_kwargs={"save_to_log_dir": False},
            parser_kwargs=dict.fromkeys(LightningCLI.subcommands(), defaults) if run else defaults,
            args=args,
            run=run,
        )
    finally:
        if run and wandb.run is not None:
            wandb.finish()  # or what this process logs next would go to this run


def main(subcommand: str, args: list[str]) -> None:
    """Run ``emovc fit`` and its kin."""
    if subcommand == "fit" and not args:
        raise UserError("fit: needs a config, for instance -c configs/speechflow_toy.yaml")
    if subcommand != "fit":
        args = [*_config_of_run(args), *args]
    for path in _configs_of(args):
        check_config(path)
    try:
        cli([subcommand, *args])
    except SIGTERMException:  # an exit without a code, after the state was saved
        raise SystemExit(INTERRUPTED if Interrupts.interrupted else TERMINATED) from None
    except MisconfigurationException as error:
        raise UserError(f"trainer: {str(error).splitlines()[0]}") from None
    except ValueError as error:  # of a constructor, in all that jsonargparse knows of the config
        reason = reason_of(str(error))
        if reason is None:
            raise
        raise UserError(reason) from None


def _config_of_run(args: list[str]) -> list[str]:
    """``-c RUN/config.yaml`` for ``--run RUN`` alone."""
    words = [w for a in args for w in (a.split("=", 1) if a.startswith("--") else [a])]
    if not {"-c", "--config"}.isdisjoint(words) or "--run" not in words[:-1]:
        return []
    return ["-c", str(Path(words[words.index("--run") + 1]) / "config.yaml")]


def _configs_of(args: list[str]) -> list[Path]:
    """Files that follow ``-c`` or ``--config``, after a blank or an equals sign."""
    joined = [w.partition("=")[2] for w in args if w.startswith(("-c=", "--config="))]
    apart = [w for o, w in zip(args, args[1:], strict=False) if o in ("-c", "--config")]
    return [Path(word) for word in (*apart, *joined)]


def check_config(path: Path) -> None:
    """Refuse a config file that isn't there, is no YAML, or has a key that no config has.

    Raises:
        UserError: The file, and the nearest right key.
    """
    if not path.exists():
        raise UserError(f"{path}: no such config file")
    config = read_yaml(path)
    if not isinstance(config, dict):
        what = "is empty" if config is None else f"holds a {type(config).__name__}"
        raise UserError(f"{path}: {what}; write keys such as model, data and trainer")
    for key in config:
        first = str(key).split(".")[0]
        if first not in KEYS:
            close = get_close_matches(first, KEYS, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(KEYS)}"
            raise UserError(f"{path}: unknown key {str(key)[:60]!r}; {hint}")
    seed = config.get("seed_everything")
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise UserError(f"{path}: seed_everything is {seed}; give 0 to {2**32 - 1}")

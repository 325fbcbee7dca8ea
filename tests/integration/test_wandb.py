"""The offline folder of W&B, read back record by record."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32_768, 7  # LevelDB's log format, after W&B's own 7 bytes


def records(path: Path) -> Iterator[Record]:
    """Records of a ``.wandb`` file."""
    data = path.read_bytes()
    place, parts = 7, b""
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        parts += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_offline_folder_holds_the_run(trained: Path) -> None:
    folder = min((trained / "wandb").glob("offline-run-*"))  # evaluations come later
    (file,) = folder.glob("*.wandb")
    keys: set[str] = set()
    config: dict[str, object] = {}
    for record in records(file):
        keys |= {item.key or "/".join(item.nested_key) for item in record.history.item}
        for update in (*record.run.config.update, *record.config.update):
            config[update.key or update.nested_key[0]] = json.loads(update.value_json)
    expected = {"train/loss", "val/loss", "val/mel_l1", "opt/lr", "opt/grad_norm"}
    expected |= {f"progress/{k}" for k in ("samples", "seconds_of_speech", "epochs", "hours")}
    assert expected | {"sys/seconds_of_speech_per_s", "sys/max_mem_gb"} <= keys
    media = {"/".join(key.split("/")[:2]) for key in keys if key.startswith("media/")}
    audio = {f"media/audio_{row}" for row in ("source", "model", "target")}
    assert media == {"media/audio", "media/mel", "media/f0"} | audio
    for name in ("corpus", "split_id", "seed", "mel_id", "commit", "model", "data"):
        assert config[name], name
    assert config["corpus"] == "toy"
    files = {p.suffix for p in (folder / "files" / "media").rglob("*") if p.is_file()}
    assert {".wav", ".png", ".json"} <= files

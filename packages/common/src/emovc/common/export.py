"""``emovc export``: a run's model as files that anybody can load."""

import sys
from pathlib import Path

import yaml
from torch import nn

from emovc.common.errors import UserError
from emovc.common.files import write_text
from emovc.common.parsing import run_function
from emovc.common.pretrained import find_checkpoint, load_checkpoint, read_checkpoint
from emovc.common.weights import save_weights

CARD = """---
library_name: emovc
---
# {name}

A `{kind}` made by emovc.

| | |
|---|---|
| corpus | {corpus} |
| split | {split_id} |
| steps | {steps} |
| seed | {seed} |
| mel | {mel} |
| code | {commit} |

Loading:

```python
from {module} import {kind}

model = {kind}.from_pretrained("{folder}")
```

The licence of the training corpus extends to these weights. Converting a person's voice needs that
person's consent, and converted speech must be called so where it is published.
"""


def export(run: Path, folder: Path) -> None:
    """Write ``model.safetensors``, ``config.yaml`` and a card ``README.md``.

    Args:
        run: Run or checkpoint.
        folder: Folder to write; it must not hold a model.
    """
    path = find_checkpoint(run)
    checkpoint = read_checkpoint(path)
    network = load_checkpoint(path, nn.Module)
    if (folder / "model.safetensors").exists():
        raise UserError(f"{folder}: holds a model; choose another folder")
    frontend, kind = getattr(network, "frontend", None), type(network)
    mel = "none: it takes embeddings"
    if frontend is not None:
        mel = f"{frontend.mel_id}: " + ", ".join(f"{k} {v}" for k, v in frontend.settings.items())
    record = {
        "corpus": "unknown",
        "split_id": "unknown",
        "seed": "unknown",
        "commit": "unknown",
        **checkpoint.get("record", {}),
        "mel_id": getattr(frontend, "mel_id", None),
        "steps": int(checkpoint["global_step"]),
    }
    config = {"model": checkpoint["hyper_parameters"]["model"], **record}
    card = CARD.format(
        name=folder.name,
        kind=kind.__name__,
        module=".".join(kind.__module__.split(".")[:2]),
        folder=folder.name,
        mel=mel,
        **record,
    )
    write_text(folder / "README.md", card)
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    save_weights(network, folder / "model.safetensors")  # last: without it nothing is loaded
    sys.stdout.write(f"{folder}\n")


def main(command: str, args: list[str]) -> None:
    """Run ``emovc export``."""
    run_function(export, args, command)

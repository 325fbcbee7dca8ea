"""A small emotion classifier for the tests of SpeechFlow's factor table."""

from typing import Any

ACRNN: dict[str, Any] = {
    "class_path": "emovc.ser.acrnn.ACRNN",
    "init_args": {
        "first_channels": 2, "channels": 2, "n_convs": 1, "linear_dim": 4, "lstm_dim": 2,
    },
}  # fmt: skip

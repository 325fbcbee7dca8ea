"""Reading the checkpoints of NISQA's authors: their options, checked one by one, and weights."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.judges.nisqa_mel import NisqaMel
from emovc.common.judges.nisqa_network import (
    BANDS,
    FRAMES,
    AttentionHead,
    BothWays,
    LastStateHead,
    NisqaNetwork,
    SegmentCnn,
    SelfAttention,
)
from emovc.common.weights import load_exactly, read_weights

REMEDY = (
    "take weights/nisqa.tar, nisqa_mos_only.tar or nisqa_tts.tar (CC BY-NC-SA 4.0) from the"
    " authors' repository, https://github.com/gabrielmittag/NISQA"
)
SCORES = ("mos", "noisiness", "discontinuity", "coloration", "loudness")  # their order
NAMES = (  # of a weight, in their file and here
    (r"^cnn\.model\.conv(\d)\.", lambda m: f"cnn.convs.{int(m[1]) - 1}."),
    (r"^cnn\.model\.bn(\d)\.", lambda m: f"cnn.norms.{int(m[1]) - 1}."),
    (r"^cnn\.model\.fc(_out)?\.", lambda m: "cnn.out."),
    (r"^time_dependency\.model\.", lambda m: "over_time."),
    (r"^pool\.model\.", lambda m: "heads.0."),
    (r"^pool_layers\.(\d)\.model\.", lambda m: f"heads.{m[1]}."),
)


def load_nisqa(path: Path) -> tuple[NisqaNetwork, NisqaMel, tuple[str, ...]]:
    """Read a checkpoint of NISQA.

    Args:
        path: One of the files ``nisqa.tar``, ``nisqa_mos_only.tar`` and ``nisqa_tts.tar``, or a
            checkpoint that the authors' program trained with the same kinds of parts.

    Returns:
        The network, its front end, and the names of its scores.

    Raises:
        UserError: The file is absent, truncated, something else, or has parts of another kind.
    """
    try:
        loaded = read_weights(path)
    except UserError as error:
        raise UserError(f"{error}; {REMEDY}") from None
    values, weights = loaded.get("args"), loaded.get("model_state_dict")
    if not isinstance(values, dict) or not isinstance(weights, dict):
        raise UserError(f"{path}: is no checkpoint of NISQA; {REMEDY}")
    options = _Options(values, path)
    scores = SCORES if options.choice("model", "NISQA", "NISQA_DIM") == "NISQA_DIM" else SCORES[:1]
    network, mel = _network(options, len(scores)), _mel(options)
    load_exactly(network, _renamed(weights), path)
    network.pretrained = True
    return network.eval(), mel, scores


class _Options:
    """The options in a checkpoint, each checked when it is read.

    Args:
        values: Options by name.
        path: Where they stand, for messages.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values, self.path = values, path

    def refuse(self, key: str, wanted: str) -> UserError:
        """What to say of an option that can't be followed."""
        value = self.values.get(key)
        return UserError(f"{self.path}: {key} is {value!r} and must be {wanted}; {REMEDY}")

    def choice(self, key: str, *known: Any) -> Any:
        """An option that is one of the known values."""
        value = self.values.get(key)
        if value not in known:
            raise self.refuse(key, " or ".join(map(repr, known)))
        return value

    def whole(self, key: str, most: int = 100_000) -> int:
        """An option that is a whole number from 1 on."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise self.refuse(key, f"a whole number from 1 to {most}")
        return value

    def number(self, key: str, most: float) -> float:
        """An option that is a positive number."""
        value = self.values.get(key)
        if not isinstance(value, int | float) or not 0 < value <= most:
            raise self.refuse(key, f"a number from 0 to {most:g}")
        return float(value)

    def sizes(self, key: str) -> tuple[int, int]:
        """An option that is a height and a width."""
        value = self.values.get(key)
        if (
            not isinstance(value, Sequence)
            or len(value) != 2
            or not all(isinstance(n, int) and n > 0 for n in value)
        ):
            raise self.refuse(key, "two whole numbers")
        return value[0], value[1]


def _network(options: _Options, scores: int) -> NisqaNetwork:
    """The network that the options describe, with random weights."""
    options.choice("double_ended", False)
    options.choice("td_2", "skip", None)
    options.choice("cnn_kernel_size", (3, 3), [3, 3], 3)
    adaptive = options.choice("cnn_model", "adapt", "standard") == "adapt"
    if not adaptive:
        options.choice("ms_n_mels", BANDS)
        options.choice("ms_seg_length", FRAMES)
    cnn = SegmentCnn(
        (
            options.whole("cnn_c_out_1"),
            options.whole("cnn_c_out_2"),
            options.whole("cnn_c_out_3"),
        ),
        [options.sizes(f"cnn_pool_{k}") for k in (1, 2, 3)] if adaptive else None,
        options.whole("cnn_fc_out_h") if options.values.get("cnn_fc_out_h") else None,
    )
    over_time: SelfAttention | BothWays
    if options.choice("td", "self_att", "lstm") == "lstm":
        options.choice("td_lstm_bidirectional", True)
        over_time = BothWays(
            cnn.size, options.whole("td_lstm_h"), options.whole("td_lstm_num_layers", 100)
        )
        pool = options.choice("pool", "att", "last_step_bi")
    else:
        options.choice("td_sa_pos_enc", False, None)
        over_time = SelfAttention(
            cnn.size,
            options.whole("td_sa_d_model"),
            options.whole("td_sa_nhead"),
            options.whole("td_sa_h"),
            options.whole("td_sa_num_layers", 100),
        )
        pool = options.choice("pool", "att")
    head = (
        AttentionHead(over_time.size, options.whole("pool_att_h"))
        if pool == "att"
        else LastStateHead(over_time.size)
    )
    return NisqaNetwork(cnn, over_time, head, scores)


def _mel(options: _Options) -> NisqaMel:
    """The front end that the options describe."""
    return NisqaMel(
        f_max=options.number("ms_fmax", 96_000),
        n_fft=options.whole("ms_n_fft"),
        hop_s=options.number("ms_hop_length", 1),
        window_s=options.number("ms_win_length", 1),
        n_mels=options.whole("ms_n_mels"),
        segment=options.whole("ms_seg_length"),
        segment_hop=options.whole("ms_seg_hop_length"),
        most_segments=options.whole("ms_max_segments"),
    )


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the names they have here."""
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed

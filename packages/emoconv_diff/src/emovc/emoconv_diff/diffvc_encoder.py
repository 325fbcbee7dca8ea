"""The encoder that DiffVC's authors published (huawei-noah/Speech-Backbones), by our names."""

import re
from pathlib import Path

from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.weights import read_weights

WHOLE = "encoder."  # before the encoder's names in a checkpoint of the whole model
LAYER, THEIRS = r"encoder\.layers\.(\d)\.", "encoder.encoder."
NAMES = (  # pattern of our names: theirs
    (r"encoder\.first\.(\w+)", r"encoder.init_proj.\1"),
    (r"encoder\.prenet\.convs\.(\d)\.(\w+)", r"encoder.prenet.conv_layers.\1.\2"),
    (r"encoder\.prenet\.norms\.(\d)\.weight", r"encoder.prenet.norm_layers.\1.gamma"),
    (r"encoder\.prenet\.norms\.(\d)\.bias", r"encoder.prenet.norm_layers.\1.beta"),
    (r"encoder\.prenet\.last\.(\w+)", r"encoder.prenet.proj.\1"),
    (rf"{LAYER}attention\.query\.(\w+)", rf"{THEIRS}attn_layers.\1.conv_q.\2"),
    (rf"{LAYER}attention\.key\.(\w+)", rf"{THEIRS}attn_layers.\1.conv_k.\2"),
    (rf"{LAYER}attention\.value\.(\w+)", rf"{THEIRS}attn_layers.\1.conv_v.\2"),
    (rf"{LAYER}attention\.out\.(\w+)", rf"{THEIRS}attn_layers.\1.conv_o.\2"),
    (rf"{LAYER}attention\.near_keys", rf"{THEIRS}attn_layers.\1.emb_rel_k"),
    (rf"{LAYER}attention\.near_values", rf"{THEIRS}attn_layers.\1.emb_rel_v"),
    (rf"{LAYER}attention_norm\.weight", rf"{THEIRS}norm_layers_1.\1.gamma"),
    (rf"{LAYER}attention_norm\.bias", rf"{THEIRS}norm_layers_1.\1.beta"),
    (rf"{LAYER}widen\.(\w+)", rf"{THEIRS}ffn_layers.\1.conv_1.\2"),
    (rf"{LAYER}narrow\.(\w+)", rf"{THEIRS}ffn_layers.\1.conv_2.\2"),
    (rf"{LAYER}conv_norm\.weight", rf"{THEIRS}norm_layers_2.\1.gamma"),
    (rf"{LAYER}conv_norm\.bias", rf"{THEIRS}norm_layers_2.\1.beta"),
    (r"encoder\.last\.(\w+)", r"encoder.term_proj.\1"),
    (r"postnet\.first\.(\w+)", r"postnet.init_conv.\1"),
    (r"postnet\.convs\.0\.(\w+)", r"postnet.res_block.block1.block.0.\1"),
    (r"postnet\.norms\.0\.(\w+)", r"postnet.res_block.block1.block.1.\1"),
    (r"postnet\.convs\.1\.(\w+)", r"postnet.res_block.block2.block.0.\1"),
    (r"postnet\.norms\.1\.(\w+)", r"postnet.res_block.block2.block.1.\1"),
    (r"postnet\.skip\.(\w+)", r"postnet.res_block.res.\1"),
    (r"postnet\.last\.(\w+)", r"postnet.final_conv.\1"),
)


def official_name(name: str) -> str:
    """What the authors call one of our weights."""
    for ours, theirs in NAMES:
        match = re.fullmatch(ours, name)
        if match is not None:
            return match.expand(theirs)
    raise KeyError(name)


def read_diffvc_encoder(path: Path, encoder: nn.Module) -> dict[str, Tensor]:
    """Weights of ``enc.pt``, or of the encoder in a whole model ``vc.pt``, by our names.

    Args:
        path: The checkpoint.
        encoder: The encoder they are for.

    Raises:
        UserError: A weight is missing, unknown, or of another shape.
    """
    state = read_weights(path)
    if f"{WHOLE}encoder.init_proj.weight" in state:
        state = {k.removeprefix(WHOLE): v for k, v in state.items() if k.startswith(WHOLE)}
    ours = encoder.state_dict()
    theirs = {official_name(name): name for name in ours}
    missing = [name for name in theirs if name not in state]
    unknown = [name for name in state if name not in theirs]
    if missing or unknown:
        what = f"lacks {missing[0]}" if missing else f"has an unknown weight {unknown[0]}"
        raise UserError(
            f"{path}: {what}, so it is not DiffVC's encoder; take enc.pt or vc.pt of its authors"
        )
    found = {}
    for name, own in theirs.items():
        wanted = ours[own]
        value = state[name]
        if name.endswith(("emb_rel_k", "emb_rel_v")) and value.dim() == 3:
            value = value.flatten(0, 1)  # the first axis is 1: all heads share them
        if value.shape != wanted.shape:
            raise UserError(
                f"{path}: {name} is {tuple(value.shape)}, DiffVC's encoder has"
                f" {tuple(wanted.shape)}; take enc.pt or vc.pt of its authors"
            )
        found[own] = value
    return found

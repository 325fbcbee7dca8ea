"""Small networks of each kind, for the tests of representations."""

from pathlib import Path
from typing import Any

import pytest
import torch

ENCODER_SIZES: dict[str, Any] = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
    conv_dim=(8,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
)  # fmt: skip


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small networks of each kind, as transformers saves them."""
    import transformers as t

    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    tdnn: dict[str, Any] = dict(tdnn_dim=(8, 8, 8, 8, 12), xvector_output_dim=10)
    codec: dict[str, Any] = dict(
        hidden_size=16, num_filters=4, upsampling_ratios=[8, 5, 4, 2], codebook_size=16,
        target_bandwidths=[0.3, 1.2],
    )  # fmt: skip
    made = {
        "wavlm": t.WavLMModel(t.WavLMConfig(**ENCODER_SIZES)),
        "hubert": t.HubertModel(t.HubertConfig(**ENCODER_SIZES)),
        "wav2vec2": t.Wav2Vec2Model(
            t.Wav2Vec2Config(**ENCODER_SIZES, feat_extract_norm="layer", do_stable_layer_norm=True)
        ),
        "xvector": t.WavLMForXVector(t.WavLMConfig(**ENCODER_SIZES, **tdnn)),
        "encodec": t.EncodecModel(t.EncodecConfig(**codec)),
        "dac": t.DacModel(
            t.DacConfig(
                encoder_hidden_size=4, decoder_hidden_size=32, downsampling_ratios=[2, 4, 5, 8],
                n_codebooks=2, codebook_size=16,
            )
        ),
    }  # fmt: skip
    for name, model in made.items():
        model.save_pretrained(root / name)
        if name not in ("encodec", "dac"):
            t.Wav2Vec2FeatureExtractor(do_normalize=name != "wavlm").save_pretrained(root / name)
    return root

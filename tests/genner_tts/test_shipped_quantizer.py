"""The quantiser that comes with the package, on the encoder that it is for."""

from pathlib import Path

import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.manifest import read_manifest
from emovc.common.wav import read_wav
from emovc.genner_tts import EmotionQuantizer
from emovc.ser.representations import EmotionFeature


def test_the_shipped_quantiser_keeps_vectors_of_the_shipped_encoder(toy: Path) -> None:
    feature = EmotionFeature.from_pretrained(22_050, "all")
    quantizer = EmotionQuantizer.from_pretrained("emotion")
    rows = read_manifest(toy)[:12]
    wavs = [torch.from_numpy(read_wav(u.path, 22_050)[0]) for u in rows]
    vectors = torch.cat([feature(w[None], torch.tensor([len(w)]))[0] for w in wavs])
    bits = []
    for lam in (0.0, 1e-3, 1e-2, 0.3):
        made = quantizer(vectors, lam)
        bits.append(float(made.bits.mean()))
        assert torch.equal(quantizer.decode(made.indices), made.quantized)
    assert bits == sorted(bits, reverse=True) and bits[-1] < 10 < 50 < bits[0]
    # Vectors of synthetic voices are unlike any it learned from, and yet nearer than the mean.
    plain = quantizer(vectors, 0.0).quantized
    mean = quantizer.space.mean
    assert (plain - vectors).norm() < 0.7 * (mean - vectors).norm()


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="nothing"):
        EmotionQuantizer.from_pretrained("nothing")

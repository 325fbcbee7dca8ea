"""Streams: exact round trips, the length that the model promises, and refusals."""

import struct

import numpy as np
import pytest
import torch
from tests.genner_tts.quantizers import embeddings, fitted, trained

from emovc.common.errors import UserError
from emovc.genner_tts.bitstream import (
    HEADER_BYTES,
    LEVELS,
    _Walk,
    decode_stream,
    encode_stream,
    lambda_levels,
    model_hash,
    nearest_level,
)
from emovc.genner_tts.prior import Context
from emovc.genner_tts.tabulation import tabulate


@pytest.mark.parametrize("context", ["group", "stage", "none"])
def test_streams_hold_the_codes_exactly(context: Context) -> None:
    model, e = fitted(context), embeddings(6)
    for lam in (0.0, 1e-2, 0.3):
        decoded = decode_stream(model, encode_stream(model, e, lam))
        assert torch.equal(decoded.indices, model.encode(e, decoded.lam))
        assert torch.equal(decoded.embeddings, model(e, decoded.lam).quantized)
        assert decoded.lam == nearest_level(model, lam) == pytest.approx(lam, rel=0.07)


def test_frames_are_one_sequence() -> None:
    """A recurrent prior asks what came before; the coder is given the very costs of the search."""
    model, e = fitted(recurrent=True), embeddings(4)
    decoded = decode_stream(model, encode_stream(model, e, 1e-2))
    made = model(e[None], decoded.lam)
    assert torch.equal(decoded.indices, made.indices[0])
    walk, bits = _Walk(model, decoded.lam), []
    with torch.no_grad():
        for frame in decoded.indices:
            chosen = walk.shares_of(frame)[range(4), frame.flatten()]
            bits.append(-float(np.log2(chosen).sum()))
    torch.testing.assert_close(torch.tensor(bits), made.bits[0], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("lam", [0.0, 1e-3, 1e-2, 0.1])
def test_a_stream_is_as_long_as_the_model_says(lam: float) -> None:
    model, _, test = trained()
    e = test[::3]
    stream = encode_stream(model, e, lam)
    promised = float(model(e, decode_stream(model, stream).lam).bits.sum())
    measured = 8 * (len(stream) - HEADER_BYTES)
    assert promised - 1 <= measured <= 1.002 * promised + 64


def test_tables_make_streams_too() -> None:
    model, train, test = trained()
    tables = tabulate(model, train, n_levels=5)
    stream = encode_stream(tables, test[:40], 1e-2)
    decoded = decode_stream(tables, stream)
    promised = float(tables(test[:40], decoded.lam).bits.sum())
    assert 8 * (len(stream) - HEADER_BYTES) <= 1.002 * promised + 64
    assert torch.equal(decoded.indices, tables.encode(test[:40], decoded.lam))


def test_lambda_is_one_of_64_levels() -> None:
    levels = lambda_levels(fitted())
    assert len(levels) == LEVELS and levels[0] == 0
    assert levels[1] == pytest.approx(1e-4) and levels[-1] == pytest.approx(0.3)
    ratios = {round(b / a, 9) for a, b in zip(levels[1:], levels[2:], strict=False)}
    assert len(ratios) == 1


def test_no_vectors_make_a_stream_of_a_header() -> None:
    model = fitted()
    stream = encode_stream(model, torch.empty(0, 16), 1e-3)
    assert decode_stream(model, stream).indices.shape == (0, 2, 2)


def test_any_changed_byte_is_noticed() -> None:
    model = fitted()
    stream = encode_stream(model, embeddings(2), 1e-3)
    for position in range(len(stream)):
        damaged = bytearray(stream)
        damaged[position] ^= 0x10
        with pytest.raises(UserError, match="^stream: "):
            decode_stream(model, bytes(damaged))


def test_what_can_not_be_read_is_refused_in_a_line() -> None:
    model = fitted()
    stream = encode_stream(model, embeddings(2), 1e-3)
    with pytest.raises(UserError, match="is not one of the emotion quantiser"):
        decode_stream(model, b"RIFF" + stream[4:])
    with pytest.raises(UserError, match="is truncated; copy it again"):
        decode_stream(model, stream[:10])
    with pytest.raises(UserError, match="is truncated; copy it again"):
        decode_stream(model, stream[:-1])
    with pytest.raises(UserError, match=r"damaged or truncated \(its checksum is wrong\)"):
        decode_stream(model, stream[:-4])
    with pytest.raises(UserError, match="has version 9, this program reads 1"):
        decode_stream(model, stream[:4] + b"\x09" + stream[5:])


def test_a_stream_of_another_model_is_refused() -> None:
    model, other = fitted(), fitted()
    assert model_hash(model) == model_hash(other)
    stream = encode_stream(model, embeddings(2), 1e-3)
    with torch.no_grad():
        other.prior.head_bias[0, 0] += 1e-6  # type: ignore[union-attr, index, operator]
    with pytest.raises(UserError, match=f"written with the model {model_hash(model).hex()}, not"):
        decode_stream(other, stream)
    renamed = fitted()
    renamed.settings["lam_range"] = [1e-4, 0.2]
    assert model_hash(renamed) != model_hash(model)


def test_the_header_is_22_bytes() -> None:
    stream = encode_stream(fitted(), embeddings(2), 0.3)
    assert HEADER_BYTES == 22 and stream[:5] == b"EVCQ\x01"
    level, count = struct.unpack_from("<BI", stream, 13)
    assert (level, count) == (63, 10)


def test_a_lambda_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="trained for 0.0001 to 0.3"):
        encode_stream(fitted(), embeddings(2), 0.5)


def test_the_number_of_threads_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    model = fitted()
    decode_stream(model, encode_stream(model, embeddings(1), 1e-3))
    assert torch.get_num_threads() == before

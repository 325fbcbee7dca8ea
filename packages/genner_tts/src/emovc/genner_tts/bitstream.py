"""Codes as a file of few bytes, by a range coder.

Encoder and decoder must compute the same probabilities to the last bit. Both go vector by vector
through the same steps, on the CPU in float32 and on one thread; a stream names its model by a hash.
A network's probabilities may still differ on another kind of CPU; those of tables don't.

Source: Martin, "Range encoding", 1979; the coder is constriction's (Bamler, "Understanding entropy
coding with asymmetric numeral systems", 2022).
"""

import copy
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import constriction
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.quantizer import EmotionQuantizer

MAGIC = b"EVCQ"
VERSION = 1
MOST = 1_000_000  # vectors of a stream; a damaged header would ask for all memory
LEVELS = 64  # of lambda: 0, and 63 spaced evenly in log lambda
HEADER = struct.Struct("<4sB8sBI")  # magic, version, model, level of lambda, number of vectors
CHECKSUM = struct.Struct("<I")  # CRC32 of the header and of what follows
HEADER_BYTES = HEADER.size + CHECKSUM.size

Categorical = constriction.stream.model.Categorical


class Decoded(NamedTuple):
    """What a stream holds.

    Attributes:
        embeddings: Quantised embeddings, (N, D).
        indices: Code numbers, (N, S, G).
        lam: Lambda they were chosen with.
    """

    embeddings: Tensor
    indices: Tensor
    lam: float


def lambda_levels(quantizer: EmotionQuantizer) -> list[float]:
    """The lambdas that a stream can have, rising from 0."""
    low, high = quantizer.lam_range
    return [0.0, *np.geomspace(low, high, LEVELS - 1).tolist()]


def nearest_level(quantizer: EmotionQuantizer, lam: float) -> float:
    """The lambda that a stream has for a given one."""
    return min(lambda_levels(quantizer), key=lambda level: abs(level - lam))


def encode_stream(quantizer: EmotionQuantizer, e: Tensor, lam: float) -> bytes:
    """Quantise embeddings and write their codes as one stream.

    A stream costs the sum of the codes' bits, less than a byte per hundred vectors, and its end of
    up to 32 bits; so many embeddings should share one. Lambda becomes the nearest level.

    Args:
        quantizer: The quantiser.
        e: Embeddings (N, D); for a recurrent quantiser the frames of one utterance.
        lam: Weight of the rate.

    Raises:
        UserError: See :meth:`EmotionQuantizer.forward`.
    """
    quantizer.weights_of(lam, e)
    if len(e) > MOST:
        raise UserError(f"stream: {len(e)} embeddings; write at most {MOST} to one stream")
    level = nearest_level(quantizer, lam)
    number = lambda_levels(quantizer).index(level)
    given = e[None] if quantizer.recurrent else e
    indices = quantizer.encode(given, level).view(len(e), *_shape(quantizer)).cpu()
    encoder = constriction.stream.queue.RangeEncoder()
    family = Categorical(perfect=False)
    with _one_thread(), torch.no_grad():
        walk = _Walk(quantizer, level)
        for vector in indices:
            shares = walk.shares_of(vector)
            encoder.encode(vector.flatten().int().numpy(), family, shares)
    payload = encoder.get_compressed().astype("<u4").tobytes()
    header = HEADER.pack(MAGIC, VERSION, model_hash(quantizer), number, len(e))
    return header + CHECKSUM.pack(zlib.crc32(header + payload)) + payload


def decode_stream(quantizer: EmotionQuantizer, stream: bytes) -> Decoded:
    """Read what :func:`encode_stream` wrote.

    Raises:
        UserError: It is no stream, of another model, or damaged.
    """
    level, count, payload = _open(quantizer, stream)
    words = np.frombuffer(payload, dtype="<u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    lam = lambda_levels(quantizer)[level]
    indices = torch.empty(count, *_shape(quantizer), dtype=torch.long)
    try:
        with _one_thread(), torch.no_grad():
            walk = _Walk(quantizer, lam)
            for vector in indices:
                walk.read(decoder, vector)
    except (AssertionError, ValueError, IndexError):  # of constriction
        raise UserError("stream: holds codes that its model can't have; write it anew") from None
    device = quantizer.codebooks.codes.device
    return Decoded(quantizer.decode(indices.to(device)), indices, lam)


def model_hash(quantizer: EmotionQuantizer) -> bytes:
    """Eight bytes that identify weights and settings of a quantiser."""
    state = {k: v.detach().cpu().contiguous() for k, v in quantizer.state_dict().items()}
    told = json.dumps(quantizer.settings, sort_keys=True).encode()
    return hashlib.sha256(told + save(state)).digest()[:8]


class _Walk:
    """Goes through the codes of one vector after the other, with the prior's probabilities."""

    def __init__(self, quantizer: EmotionQuantizer, lam: float) -> None:
        if quantizer.codebooks.codes.device.type != "cpu":
            quantizer = copy.deepcopy(quantizer).cpu()
        self.prior = quantizer.prior
        self.codebooks = quantizer.codebooks
        self.lam = torch.full((1,), lam)
        self.tables = self.prior.tables(self.codebooks.codes)
        dim = quantizer.settings["dim"]
        self.memory = self.prior.remember_one(torch.zeros(1, dim), None)

    def shares_of(self, vector: Tensor) -> np.ndarray:
        """Probabilities (S * G, K + 1) of the codes on the way to a known vector (S, G)."""
        shares = [own for _, _, own in self._steps(vector)]
        return np.concatenate(shares)

    def read(self, decoder: constriction.stream.queue.RangeDecoder, vector: Tensor) -> None:
        """Decode the next vector into code numbers (S, G)."""
        family = Categorical(perfect=False)
        for stage, groups, own in self._steps(vector):
            found = decoder.decode(family, own).astype(np.int64)
            vector[stage, groups] = torch.from_numpy(found)

    def _steps(self, vector: Tensor) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Stage, groups, and probabilities (g, K + 1) of each block of codes.

        The codes of a block are read from ``vector`` when the next block is asked for.
        """
        state = self.prior.start(self.lam, self.memory)
        for stage in range(self.codebooks.n_stages):
            for groups in self.prior.blocks:
                bits = self.prior.bits(state, stage, groups)[:, 0]
                yield stage, groups, torch.exp2(-bits).numpy()
                found = vector[stage, groups][:, None]
                state = self.prior.advance(state, self.tables, stage, groups, found)
        if self.memory is not None:
            decoded = self.codebooks.decode(vector[None])
            self.memory = self.prior.remember_one(decoded, self.memory)


def _open(quantizer: EmotionQuantizer, stream: bytes) -> tuple[int, int, bytes]:
    """Level of lambda, number of vectors, and payload of a stream, checked."""
    if stream[:4] != MAGIC:
        raise UserError(
            "stream: is not one of the emotion quantiser's; emovc quantize encode writes them"
        )
    if len(stream) < HEADER_BYTES or (len(stream) - HEADER_BYTES) % 4:
        raise UserError("stream: is truncated; copy it again")
    _, version, model, level, count = HEADER.unpack_from(stream)
    if version != VERSION:
        raise UserError(f"stream: has version {version}, this program reads {VERSION}; update it")
    header, payload = stream[: HEADER.size], stream[HEADER_BYTES:]
    if CHECKSUM.unpack_from(stream, HEADER.size)[0] != zlib.crc32(header + payload):
        raise UserError("stream: is damaged or truncated (its checksum is wrong); copy it again")
    if level >= LEVELS or count > MOST:
        what = f"level {level} of lambda" if level >= LEVELS else f"{count} embeddings"
        raise UserError(f"stream: its header says {what}, which no stream has; write it anew")
    own = model_hash(quantizer)
    if model != own:
        raise UserError(
            f"stream: was written with the model {model.hex()}, not with this one ({own.hex()});"
            " load that one"
        )
    return level, count, payload


def _shape(quantizer: EmotionQuantizer) -> tuple[int, int]:
    """Stages and groups."""
    return quantizer.codebooks.n_stages, quantizer.codebooks.n_groups


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are rounded in one order only."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

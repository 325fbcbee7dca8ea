"""SoundStream as Google published it in Lyra V2: latents, codes and speech of 16 kHz, 50 frames/s.

The graphs are run by LiteRT, one frame of 20 ms after the other, as they keep the past of a stream
inside. Each recording gets interpreters of its own: LiteRT's ``reset_all_variables`` doesn't bring
back the state of a new interpreter, so the first 0.4 s would depend on what was coded before.

Source: Zeghidour, Luebs, Omran, Skoglund and Tagliasacchi, "SoundStream: an end-to-end neural audio
codec", IEEE/ACM TASLP 30, 2022, and https://github.com/google/lyra (Apache-2.0). The graphs are not
part of emovc.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from emovc.common.errors import UserError
from emovc.common.files import short_hash
from emovc.common.wav import resample

RATE = 16_000  # Hz
HOP = 320  # samples of a frame
DIM = 64  # values of a latent
N_QUANTIZERS = 46  # codebooks of 4 bits
UNUSED = -1  # code of a codebook that is left out
REMEDY = (
    "copy soundstream_encoder.tflite, quantizer.tflite and lyragan.tflite from lyra/model_coeffs of"
    " github.com/google/lyra (Apache-2.0)"
)

Shapes = dict[str, tuple[int, ...]]
ENCODER: dict[str, tuple[Shapes, Shapes]] = {
    "serving_default": ({"input_audio": (1, HOP)}, {"output_0": (1, 1, DIM)})
}
QUANTIZER: dict[str, tuple[Shapes, Shapes]] = {
    "encode": (
        {"input_frames": (1, 1, DIM), "num_quantizers": ()},
        {"output_0": (N_QUANTIZERS, 1, 1), "output_1": ()},
    ),
    "decode": ({"encoding_indices": (N_QUANTIZERS, 1, 1)}, {"output_0": (1, 1, DIM)}),
}
DECODER: dict[str, tuple[Shapes, Shapes]] = {
    "serving_default": ({"input_audio": (1, 1, DIM)}, {"output_0": (1, HOP)})
}


class SoundStream:
    """The encoder, the residual quantiser and the decoder of Lyra V2.

    Frame k of the latents is of samples 320 k to 320 k + 319 and hears nothing after them; what is
    decoded has no delay. Levels are left as they are. Results don't depend on what was coded
    before; the arithmetic is of 8 bits, and its last step may differ between kinds of CPU.

    Args:
        encoder: The graph ``soundstream_encoder.tflite``, as bytes.
        quantizer: The graph ``quantizer.tflite``.
        decoder: The graph ``lyragan.tflite``.
    """

    sample_rate = RATE

    def __init__(self, encoder: bytes, quantizer: bytes, decoder: bytes) -> None:
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.weights = short_hash([sha256(g).hexdigest() for g in (encoder, quantizer, decoder)])

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "SoundStream":
        """From a folder with the three graphs.

        Raises:
            UserError: LiteRT isn't installed; a graph is absent, cut off, or of another model.
        """
        folder = Path(folder)
        return cls(
            _read(folder / "soundstream_encoder.tflite", ENCODER),
            _read(folder / "quantizer.tflite", QUANTIZER),
            _read(folder / "lyragan.tflite", DECODER),
        )

    def encode(self, wav: np.ndarray) -> np.ndarray:
        """Latents (ceil(N / 320), 64) of a waveform (N,) at 16 kHz; zeros fill the last frame."""
        padded = np.pad(np.asarray(wav, dtype=np.float32), (0, -len(wav) % HOP))
        return _stream(self.encoder, padded.reshape(-1, 1, HOP)).reshape(-1, DIM)

    def quantize(self, latents: np.ndarray, n_quantizers: int = N_QUANTIZERS) -> np.ndarray:
        """Codes (T, 46) of latents (T, 64); those of codebooks that are left out are -1.

        Args:
            latents: Latents.
            n_quantizers: Codebooks to use, 0.2 kbit/s each.

        Raises:
            UserError: There are no so many codebooks.
        """
        require_quantizers(n_quantizers)
        encode = _interpreter(self.quantizer).get_signature_runner("encode")
        number = np.array(n_quantizers, dtype=np.int32)
        codes = [
            encode(input_frames=latent.reshape(1, 1, DIM), num_quantizers=number)["output_0"]
            for latent in np.asarray(latents, dtype=np.float32)
        ]
        return np.array(codes, dtype=np.int32).reshape(-1, N_QUANTIZERS)

    def dequantize(self, codes: np.ndarray) -> np.ndarray:
        """Rounded latents (T, 64) of codes (T, 46)."""
        decode = _interpreter(self.quantizer).get_signature_runner("decode")
        shaped = np.asarray(codes, dtype=np.int32).reshape(-1, N_QUANTIZERS, 1, 1)
        latents = [decode(encoding_indices=code)["output_0"] for code in shaped]
        return np.array(latents, dtype=np.float32).reshape(-1, DIM)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Waveform (320 T,) at 16 kHz of latents (T, 64)."""
        frames = np.asarray(latents, dtype=np.float32).reshape(-1, 1, 1, DIM)
        return _stream(self.decoder, frames).reshape(-1)

    def round_trip(
        self, wav: np.ndarray, sample_rate: int = RATE, n_quantizers: int = N_QUANTIZERS
    ) -> np.ndarray:
        """What a waveform (N,) becomes by coding and decoding, (N,) at its own rate.

        Args:
            wav: Waveform.
            sample_rate: Its rate in Hz.
            n_quantizers: Codebooks to use: 16, 30 or 46 are Lyra's 3.2, 6 and 9.2 kbit/s.

        Raises:
            UserError: There are no so many codebooks.
        """
        codes = self.quantize(self.encode(resample(wav, sample_rate, RATE)), n_quantizers)
        decoded = resample(self.decode(self.dequantize(codes)), RATE, sample_rate)
        return np.pad(decoded, (0, max(0, len(wav) - len(decoded))))[: len(wav)]


def require_quantizers(n_quantizers: int) -> None:
    """Check a number of codebooks.

    Raises:
        UserError: There are no so many.
    """
    if not 1 <= n_quantizers <= N_QUANTIZERS:
        raise UserError(f"n_quantizers {n_quantizers}: SoundStream has 1 to {N_QUANTIZERS}")


def _stream(graph: bytes, frames: np.ndarray) -> np.ndarray:
    """What a new stream makes of its frames (T, ...), one after the other."""
    interpreter = _interpreter(graph)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    results = []
    for frame in frames:
        interpreter.set_tensor(source, frame)
        interpreter.invoke()
        results.append(interpreter.get_tensor(target))
    return np.array(results, dtype=np.float32)


def _interpreter(graph: bytes) -> Any:
    """A new interpreter; a stream per recording costs 3 ms.

    Raises:
        UserError: LiteRT isn't installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UserError("SoundStream: install the extra emovc-ser[soundstream]") from None
    return Interpreter(model_content=graph, num_threads=1)


def _read(path: Path, expected: dict[str, tuple[Shapes, Shapes]]) -> bytes:
    """A graph's bytes, after a look at its inputs and outputs.

    Raises:
        UserError: It is absent, cut off, or of another model.
    """
    try:
        graph = path.read_bytes()
    except OSError:
        raise UserError(f"{path}: no such file; {REMEDY}") from None
    try:
        found = _signatures(_interpreter(graph))
    except (ValueError, RuntimeError):
        raise UserError(f"{path}: is no graph of LiteRT, or not a whole one; {REMEDY}") from None
    if found != expected:
        raise UserError(f"{path}: is not this graph of Lyra V2 but another; {REMEDY}")
    return graph


def _signatures(interpreter: Any) -> dict[str, tuple[Shapes, Shapes]]:
    """Shapes of inputs and outputs by signature."""
    interpreter.allocate_tensors()
    found = {}
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        found[name] = (_shapes(runner.get_input_details()), _shapes(runner.get_output_details()))
    return found


def _shapes(details: dict[str, dict[str, Any]]) -> Shapes:
    return {name: tuple(int(n) for n in tensor["shape"]) for name, tensor in details.items()}

"""``emovc quantize``: emotion embeddings to a file of few bytes, and back."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save_file
from torch import Tensor

from emovc.common.checked_values import read_checked
from emovc.common.convert import expand, read_speech
from emovc.common.errors import UserError
from emovc.common.features.making import make_feature
from emovc.common.features.store import open_store
from emovc.common.files import atomic_path, write_json
from emovc.common.manifest import read_manifest
from emovc.common.parsing import run_function
from emovc.common.progress import progress
from emovc.genner_tts.bitstream import HEADER_BYTES, decode_stream, encode_stream, nearest_level
from emovc.genner_tts.quantizer import EmotionQuantizer

ENCODER = "emovc.ser.representations.EmotionFeature"


def encode(
    model: Path,
    sources: list[Path],
    out: Path,
    lam: float = 0.01,
    feature: str = "emotion",
    split: str | None = None,
    encoder: str = ENCODER,
    sample_rate: int = 22_050,
) -> None:
    """Quantise embeddings of recordings and write their codes as one stream.

    Beside the stream goes ``OUT.json``, which names the recordings in their order.

    Args:
        model: Run, checkpoint or exported folder of an emotion quantiser.
        sources: A manifest (.jsonl) with stored embeddings, or audio files and folders of them.
        out: File of the stream.
        lam: Weight of the rate; the larger, the fewer bits.
        feature: Stored feature of a manifest.
        split: Part of a manifest; by default all of it.
        encoder: Class of the feature that hears audio files, as ``emovc represent`` takes it.
        sample_rate: Rate in Hz at which audio files are heard.
    """
    quantizer = _load(model)
    if sources[0].suffix == ".jsonl":
        if len(sources) > 1:
            raise UserError("sources: give one manifest, or audio")
        ids, e = stored(sources[0], feature, split)
    else:
        ids, e = heard(expand(sources), encoder, sample_rate)
    stream = encode_stream(quantizer, e, lam)
    lam = nearest_level(quantizer, lam)
    bits = float(quantizer(e, lam).bits.sum())
    with atomic_path(out) as temporary:
        temporary.write_bytes(stream)
    header, coded = 8 * HEADER_BYTES, 8 * (len(stream) - HEADER_BYTES)
    told = {"model_bits": bits, "stream_bits": coded, "header_bits": header}
    write_json(_list_of(out), {"ids": ids, "lambda": lam} | told)
    sys.stdout.write(
        f"{len(ids)} embeddings, lambda {lam:.3g}: {bits:.1f} bit by the model, {coded} in the"
        f" stream and {header} of header; {coded / len(ids):.2f} per embedding\n{out}\n"
    )


def decode(model: Path, stream: Path, out: Path) -> None:
    """Read a stream back: ``embeddings`` (N, D) and ``indices`` (N, S, G) as safetensors.

    Args:
        model: The quantiser that wrote it.
        stream: File of ``emovc quantize encode``.
        out: File to write, .safetensors; ``OUT.json`` names the recordings, if the stream's does.
    """
    quantizer = _load(model)
    if not stream.is_file():
        raise UserError(f"{stream}: no such file; emovc quantize encode writes it")
    try:
        found = decode_stream(quantizer, stream.read_bytes())
    except UserError as error:
        raise UserError(f"{stream}: {str(error).removeprefix('stream: ')}") from None
    named = _list_of(stream)
    ids = _names(named, len(found.indices)) if named.exists() else None
    with atomic_path(out) as temporary:
        save_file({"embeddings": found.embeddings, "indices": found.indices}, temporary)
    if ids is not None:
        write_json(_list_of(out), {"ids": ids, "lambda": found.lam})
    sys.stdout.write(f"{len(found.indices)} embeddings of lambda {found.lam:.3g}\n{out}\n")


def stored(manifest: Path, feature: str, split: str | None) -> tuple[list[str], Tensor]:
    """Ids of a manifest's utterances, and their stored embeddings (N, D), averaged over rows.

    Raises:
        UserError: The part is empty, or an utterance has no embedding.
    """
    rows = [u for u in read_manifest(manifest) if split is None or u.split == split]
    if not rows:
        raise UserError(f"{manifest}: split {split} is empty; leave --split out, or give another")
    store = open_store(manifest.parent / "features", feature)
    store.require(rows, "extract them with emovc represent")
    values = [torch.tensor(store.get(u.sha256)).float().mean(0) for u in rows]
    return [u.id for u in rows], torch.stack(values)


def heard(files: Sequence[Path], encoder: str, sample_rate: int) -> tuple[list[str], Tensor]:
    """Paths of audio files, and their embeddings (N, D).

    Raises:
        UserError: A file can't be read, or the encoder not loaded.
    """
    network: Any = make_feature({"class_path": encoder}, sample_rate, "--encoder", ours=False)
    if not isinstance(network, torch.nn.Module):
        raise UserError(f"--encoder {encoder}: is no network; name a feature of embeddings")
    values = []
    for file in progress(files, "hearing", len(files)):
        wav = read_speech(file, sample_rate).wav
        with torch.no_grad():
            values.append(network(wav[None], torch.tensor([len(wav)]))[0].mean(0))
    return [str(file) for file in files], torch.stack(values)


def _list_of(path: Path) -> Path:
    """Where the names of what is in a file are."""
    return path.with_name(f"{path.name}.json")


class _Names(TypedDict):
    ids: list[str]


def _names(path: Path, count: int) -> list[str]:
    """Names of what is in a stream.

    Raises:
        UserError: The list is damaged, or of another stream.
    """
    remedy = "copy it again with its stream, or remove it"
    ids: list[str] = read_checked(path, _Names, remedy)["ids"]
    if len(ids) != count:
        raise UserError(f"{path}: names {len(ids)} recordings, the stream holds {count}; {remedy}")
    return ids


def _load(path: Path) -> EmotionQuantizer:
    """A quantiser of one vector per utterance."""
    quantizer = EmotionQuantizer.from_pretrained(path)
    if quantizer.recurrent:
        raise UserError(
            f"{path}: quantises frames; use emovc.genner_tts.bitstream, one stream per utterance"
        )
    return quantizer


def main(command: str, args: list[str]) -> None:
    """Run ``emovc quantize encode`` or ``decode``."""
    if not args or args[0] in ("-h", "--help"):
        sys.stdout.write("usage: emovc quantize {encode,decode} MODEL ... (--help after each)\n")
    elif args[0] == "encode":
        run_function(encode, args[1:], f"{command} encode", many="sources", out=True)
    elif args[0] == "decode":
        run_function(decode, args[1:], f"{command} decode", out=True)
    else:
        raise UserError(f"quantize {args[0]}: give encode or decode")

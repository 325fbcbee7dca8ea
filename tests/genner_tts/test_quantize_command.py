"""``emovc quantize``: from stored embeddings to a file and back."""

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.genner_tts.quantizers import DIM, embeddings, fitted

from emovc.common.errors import UserError
from emovc.common.features.store import ShardWriter, store_folder
from emovc.common.files import read_json, write_json
from emovc.common.manifest import Utterance, write_manifest
from emovc.genner_tts.bitstream import CHECKSUM, HEADER, HEADER_BYTES
from emovc.genner_tts.quantize import decode, encode, main

COUNT = 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported quantiser of 16 dimensions."""
    quantizer = fitted()
    quantizer.pretrained = True
    folder = tmp_path_factory.mktemp("quantizer") / "exported"
    quantizer.save_pretrained(folder)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Utterances with a stored embedding each; the last is of the training part."""
    rows = [
        Utterance(f"toy/{i}", Path(f"{i}.wav"), f"hash{i}", 22_050, 22_050, "ann", "toy",
                  split="test" if i < COUNT - 1 else "train")
        for i in range(COUNT)
    ]  # fmt: skip
    write_manifest(tmp_path / "manifest.jsonl", rows)
    folder = store_folder(tmp_path / "features", "emotion", {"weights": "abc"})
    writer = ShardWriter(folder, "emotion", {"weights": "abc"})
    for row, vector in zip(rows, embeddings(10).numpy(), strict=False):
        writer.add(row.sha256, vector[None].astype(np.float32))
    writer.flush()
    return tmp_path / "manifest.jsonl"


def test_what_is_encoded_is_decoded_exactly(model: Path, manifest: Path, tmp_path: Path) -> None:
    stream, out = tmp_path / "codes.evcq", tmp_path / "back.safetensors"
    main("quantize", ["encode", str(model), str(manifest), "-o", str(stream), "--split", "test"])
    main("quantize", ["decode", str(model), str(stream), "-o", str(out)])
    told, back = read_json(tmp_path / "codes.evcq.json"), load_file(out)
    assert told["ids"] == [f"toy/{i}" for i in range(COUNT - 1)]
    assert read_json(tmp_path / "back.safetensors.json")["ids"] == told["ids"]
    made = fitted()(embeddings(10)[: COUNT - 1], told["lambda"])
    assert torch.equal(back["indices"], made.indices)
    torch.testing.assert_close(back["embeddings"], made.quantized)
    assert back["embeddings"].shape == (COUNT - 1, DIM)
    assert told["model_bits"] <= told["stream_bits"] <= told["model_bits"] + 64
    assert told["stream_bits"] + told["header_bits"] == 8 * stream.stat().st_size


def test_bad_input_is_one_line(model: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.evcq"
    with pytest.raises(UserError, match="lambda 7: this quantiser was trained for 0.0001 to 0.3"):
        encode(model, [manifest], out, lam=7.0)
    with pytest.raises(UserError, match="split val is empty"):
        encode(model, [manifest], out, split="val")
    with pytest.raises(UserError, match="give one manifest, or audio"):
        encode(model, [manifest, manifest], out)
    assert not out.exists()
    encode(model, [manifest], out)
    damaged = bytearray(out.read_bytes())
    damaged[-1] ^= 1
    out.write_bytes(damaged)
    with pytest.raises(UserError, match=r"codes\.evcq: is damaged or truncated"):
        decode(model, out, tmp_path / "back.safetensors")
    with pytest.raises(UserError, match=r"no such file; emovc quantize encode"):
        decode(model, tmp_path / "none.evcq", tmp_path / "back.safetensors")
    with pytest.raises(UserError, match="quantize squeeze: give encode or decode"):
        main("quantize", ["squeeze"])
    shutil.rmtree(manifest.parent / "features")
    with pytest.raises(UserError, match="emotion"):
        encode(model, [manifest], out)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "ids is missing"),
        ([], "the file holds"),
        ({"ids": "toy/0"}, "ids holds 'toy/0', which must be a list"),
        ({"ids": [1]}, r"ids\[0\] holds 1, which must be text"),
        ({"ids": ["toy/0"]}, f"names 1 recordings, the stream holds {COUNT}"),
    ],
)
def test_names_beside_a_stream_are_checked_before_anything_is_written(
    names: object, message: str, model: Path, manifest: Path, tmp_path: Path
) -> None:
    stream, out = tmp_path / "codes.bin", tmp_path / "back.safetensors"
    encode(model, [manifest], stream)
    write_json(tmp_path / "codes.bin.json", names)
    with pytest.raises(UserError, match=rf"codes\.bin\.json: {message}.*copy it again with its"):
        decode(model, stream, out)
    assert not list(tmp_path.glob("back*"))


@pytest.mark.parametrize(("level", "count"), [(200, 3), (64, 3), (1, 4_000_000_000)])
def test_headers_of_streams_stay_in_range(
    level: int, count: int, model: Path, manifest: Path, tmp_path: Path
) -> None:
    """Even where the checksum is right, as in a stream that was made to do harm."""
    stream = tmp_path / "codes.bin"
    encode(model, [manifest], stream)
    data = stream.read_bytes()
    magic, version, own, _, _ = HEADER.unpack_from(data)
    header, payload = HEADER.pack(magic, version, own, level, count), data[HEADER_BYTES:]
    stream.write_bytes(header + CHECKSUM.pack(zlib.crc32(header + payload)) + payload)
    with pytest.raises(UserError, match=r"codes\.bin: its header says .*, which no stream has"):
        decode(model, stream, tmp_path / "back.safetensors")

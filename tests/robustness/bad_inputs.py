"""Inputs that are wrong somewhere, what the commands make of them, and a table of the outcomes.

``python -m tests.robustness.bad_inputs --count 300`` prints the table of docs/reliability.md.
"""

import argparse
import copy
import hashlib
import json
import logging
import random
import shutil
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from safetensors.torch import load_file, save_file
from tests.common.evaluations import write_evaluation
from tests.genner_tts.quantizers import embeddings, fitted
from tests.robustness.running import GOOD, RIGHT, Case, Outcome, run
from tests.robustness.spoiling import VALUES, Choices, wrong_bytes, wrong_value, wrong_weight

from emovc.common.features.store import ShardWriter, store_folder
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.pretrained import build
from emovc.genner_tts.bitstream import CHECKSUM, HEADER, HEADER_BYTES

RATE, COUNT = 16_000, 6
NET = {
    "n_f0_bins": 17, "content_channels": 16, "rhythm_channels": 16, "pitch_channels": 16,
    "decoder_dim": 16, "decoder_layers": 1,
}  # fmt: skip
FLOW = {
    "class_path": "emovc.speechflow.SpeechFlow",
    "init_args": {
        "net": {"class_path": "emovc.speechflow.SpeechFlowNet", "init_args": NET},
        "frontend": {"class_path": "emovc.common.audio.LogMel", "init_args": {}},
        "factors": [],
    },
}
QUANTIZER = {
    "class_path": "emovc.genner_tts.quantizer_training.LitEmotionQuantizer",
    "init_args": {
        "model": {
            "class_path": "emovc.genner_tts.quantizer.EmotionQuantizer",
            "init_args": {"dim": 8, "n_groups": 2, "n_stages": 1, "codebook_size": 4, "hidden": 8},
        }
    },
}
CONFIG: dict[str, Any] = {
    "seed_everything": 1,
    "model": QUANTIZER,
    "data": {
        "class_path": "emovc.genner_tts.synthetic_data.SyntheticDataModule",
        "init_args": {"dim": 8, "per_emotion": 60, "held_out": 8, "batch_size": 32},
    },
    "trainer": {
        "max_steps": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "limit_val_batches": 1,
    },
}  # fmt: skip


def make_world(folder: Path) -> Path:
    """A folder of good inputs of every kind, small enough for hundreds of commands."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(COUNT):
        path = folder / "audio" / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(RATE // 2) / RATE
        wav = 0.2 * np.sin(2 * np.pi * (120 + 5 * i) * time) + 0.02 * rng.standard_normal(len(time))
        soundfile.write(path, wav, RATE)
        rows.append(
            Utterance(
                f"own/ann_{i}", path, sha256_of(path), RATE, len(time), "own_ann", "own",
                emotion="sad", sentence=f"s{i}", split="test" if i % 2 else "train", split_id="x",
            )
        )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", rows)
    settings = {"weights": "abc"}
    writer = ShardWriter(
        store_folder(folder / "features", "emotion", settings), "emotion", settings
    )
    for row, vector in zip(rows, embeddings(2).numpy(), strict=False):
        writer.add(row.sha256, vector[None].astype(np.float32))
    writer.flush()
    (folder / "table.csv").write_text(
        "path,speaker,emotion,arousal,split\n"
        + "".join(f"audio/{i}.wav,ann,sad,{1 + i},train\n" for i in range(COUNT))
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    quantizer = fitted()
    quantizer.pretrained = True
    quantizer.save_pretrained(folder / "quantizer")
    torch.manual_seed(0)
    state = {f"model.{k}": v for k, v in build(FLOW, "FLOW").state_dict().items()}
    about = {"state_dict": state, "hyper_parameters": {"model": FLOW}, "global_step": 7}
    torch.save(about, folder / "flow.ckpt")
    for name in ("a", "b"):
        write_evaluation(folder / f"report_{name}", f"runs/{name}", sound=False, n_pairs=4)
    encode = ["quantize", "encode", folder / "quantizer", folder / "manifest.jsonl"]
    outcome = run(Case([*map(str, encode), "-o", str(folder / "codes.bin")], [], lambda: True))
    assert outcome.kind == RIGHT, outcome.said
    return folder


def wrong_manifest(world: Path, choose: Choices) -> Case:
    """A line or a value of a manifest."""
    path = world / "manifest.jsonl"
    lines = path.read_text().rstrip("\n").split("\n")
    if choose.randrange(3) == 0:
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    else:
        place = choose.randrange(len(lines))
        lines[place] = json.dumps(wrong_value(json.loads(lines[place]), choose))
        path.write_text("\n".join(lines) + "\n", errors="surrogatepass")
    out = world / "out" / "all.jsonl"
    return Case(
        ["combine", str(path), "-o", str(out)],
        [out.parent],
        lambda: len(read_manifest(out)) == len(read_manifest(path)),
    )


def wrong_table(world: Path, choose: Choices) -> Case:
    """A cell, a line or the bytes of a table; the features are left out by a small store."""
    path = world / "table.csv"
    lines = [line.split(",") for line in path.read_text().rstrip("\n").split("\n")]
    if choose.randrange(3) == 0:
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    else:
        row = choose.choice(lines)
        row[choose.randrange(len(row))] = str(choose.choice(VALUES))
        path.write_text("\n".join(map(",".join, lines)) + "\n", errors="replace")
    out = world / "out"
    words = ["prepare", "table", str(path), str(out), "--split=official", "--dvector=false"]
    words += ["--energy=false", "--f0=Dio", "--num_workers=1"]
    return Case(words, [out], lambda: 0 < len(read_manifest(out / "manifest.jsonl")) <= COUNT)


def wrong_config(world: Path, choose: Choices) -> Case:
    """A key, a value or the bytes of a config."""
    path, run_folder = world / "config.yaml", world / "out"
    if choose.randrange(4) == 0:
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    else:
        config = wrong_value(copy.deepcopy(CONFIG), choose)
        path.write_text(yaml.safe_dump(config, allow_unicode=True), errors="replace")
    words = ["fit", "-c", str(path), f"--run={run_folder}", "--trainer.max_steps=1"]
    words += ["--trainer.accelerator=cpu", "--trainer.devices=1"]
    last, begun = run_folder / "checkpoints" / "last.ckpt", (".lock", "config.yaml", "run.json")
    return Case(words, [run_folder], last.is_file, begun)


def wrong_checkpoint(world: Path, choose: Choices) -> Case:
    """A weight, a description or the bytes of a checkpoint."""
    path, out = world / "flow.ckpt", world / "out" / "a.wav"
    if choose.randrange(4) == 0:
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    else:
        about = torch.load(path, weights_only=True)
        if choose.randrange(3) == 0:
            wrong_weight(about["state_dict"], choose)
        else:
            about = wrong_value(about, choose)
        torch.save(about, path)
    words = ["convert", str(path), str(world / "audio" / "1.wav"), "-o", str(out)]
    words += ["--emotion=sad", "--vocoder=griffin-lim"]
    return Case(words, [out.parent], lambda: _is_speech(out))


def wrong_export(world: Path, choose: Choices) -> Case:
    """The config or the weights of an exported folder."""
    folder, out = world / "quantizer", world / "out" / "codes.bin"
    if choose.randrange(2):
        path = folder / "config.yaml"
        config = wrong_value(yaml.safe_load(path.read_text()), choose)
        path.write_text(yaml.safe_dump(config, allow_unicode=True), errors="replace")
    elif choose.randrange(2):
        weights = load_file(folder / "model.safetensors")
        wrong_weight(weights, choose)
        weights = {k: v for k, v in weights.items() if isinstance(v, torch.Tensor)}
        save_file(weights, folder / "model.safetensors")
    else:
        path = choose.choice([folder / "config.yaml", folder / "model.safetensors"])
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    words = ["quantize", "encode", str(folder), str(world / "manifest.jsonl"), "-o", str(out)]
    return Case(words, [out.parent], lambda: out.read_bytes()[:4] == b"EVCQ")


def wrong_store(world: Path, choose: Choices) -> Case:
    """The index, the settings or the numbers of a feature store."""
    (folder,) = (world / "features").iterdir()
    path = choose.choice(sorted(folder.iterdir()))
    if path.suffix == ".npy" and choose.randrange(2):
        values = np.load(path)
        bad = [np.nan, np.inf, values.astype(int), values[:, 0], values[:2], values[:, :3]]
        one = bad[choose.randrange(len(bad))]
        if isinstance(one, float):
            values[choose.randrange(len(values)), choose.randrange(3)] = one
        np.save(path, values if isinstance(one, float) else one)
    elif path.suffix == ".json" and choose.randrange(3):
        path.write_text(json.dumps(wrong_value(json.loads(path.read_text()), choose)))
    else:
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    out = world / "out" / "codes.bin"
    words = ["quantize", "encode", world / "quantizer", world / "manifest.jsonl", "-o", out]
    return Case(list(map(str, words)), [out.parent], lambda: out.read_bytes()[:4] == b"EVCQ")


def wrong_stream(world: Path, choose: Choices) -> Case:
    """The header, the codes or the names of a stream, with a checksum that is right or not."""
    path, out = world / "codes.bin", world / "out" / "back.safetensors"
    data = path.read_bytes()
    if choose.randrange(3) == 0:
        names = world / "codes.bin.json"
        names.write_text(json.dumps(wrong_value(json.loads(names.read_text()), choose)))
    elif choose.randrange(2):
        path.write_bytes(wrong_bytes(data, choose))
    else:
        fields = list(HEADER.unpack_from(data))
        fields[3] = choose.randrange(256)
        fields[4] = choose.choice([0, 1, COUNT - 1, COUNT + 1, 100, 2**31, 2**32 - 1])
        header, payload = HEADER.pack(*fields), data[HEADER_BYTES:]
        path.write_bytes(header + CHECKSUM.pack(zlib.crc32(header + payload)) + payload)
    words = ["quantize", "decode", world / "quantizer", path, "-o", out]

    def right() -> bool:
        found = load_file(out)
        return len(found["embeddings"]) == len(found["indices"])

    return Case(list(map(str, words)), [out.parent], right)


def wrong_audio(world: Path, choose: Choices) -> Case:
    """A number in the header of a recording, or its bytes."""
    path, out = world / "audio" / "1.wav", world / "out" / "a.wav"
    data = bytearray(path.read_bytes())
    fields = {
        4: "<I",
        16: "<I",
        20: "<H",
        22: "<H",
        24: "<I",
        28: "<I",
        32: "<H",
        34: "<H",
        40: "<I",
    }
    if choose.randrange(2):
        at = choose.choice(sorted(fields))
        most = 2 ** (8 * struct.calcsize(fields[at])) - 1
        struct.pack_into(fields[at], data, at, choose.choice([0, 1, 2, 7, 255, most // 2, most]))
        path.write_bytes(data)
    else:
        path.write_bytes(wrong_bytes(bytes(data), choose))
    words = ["convert", world / "flow.ckpt", path, "-o", out, "--emotion=sad"]
    words += ["--vocoder=griffin-lim"]
    return Case(list(map(str, words)), [out.parent], lambda: _is_speech(out))


def wrong_evaluation(world: Path, choose: Choices) -> Case:
    """Scores, settings or the summary of an evaluation that is compared."""
    path = world / "report_a" / choose.choice(["scores.jsonl", "settings.json", "summary.json"])
    if choose.randrange(3) == 0:
        path.write_bytes(wrong_bytes(path.read_bytes(), choose))
    elif path.suffix == ".json":
        path.write_text(json.dumps(wrong_value(json.loads(path.read_text()), choose)))
    else:
        lines = path.read_text().rstrip("\n").split("\n")
        lines[0] = json.dumps(wrong_value(json.loads(lines[0]), choose))
        path.write_text("\n".join(lines) + "\n")
    out = world / "out"
    words = ["compare", world / "report_a", world / "report_b", "-o", out]
    return Case(list(map(str, words)), [out], lambda: (out / "index.html").is_file())


KINDS: dict[str, Callable[[Path, Choices], Case]] = {
    "manifest": wrong_manifest,
    "table": wrong_table,
    "config": wrong_config,
    "checkpoint": wrong_checkpoint,
    "exported folder": wrong_export,
    "feature store": wrong_store,
    "stream": wrong_stream,
    "audio header": wrong_audio,
    "evaluation": wrong_evaluation,
}


def _is_speech(path: Path) -> bool:
    """Whether a file was written whole and of numbers."""
    wav, rate = soundfile.read(path)
    return rate > 0 and len(wav) > 0 and bool(np.isfinite(wav).all())


def attempt(kind: str, world: Path, place: Path, choose: Choices) -> Outcome:
    """Copy the good inputs, spoil one, run the command, and see that no input changed."""
    shutil.copytree(world, place)
    try:
        case = KINDS[kind](place, choose)
        before = _hashes(place, case)
        outcome = run(case)
        if _hashes(place, case) != before:
            return Outcome("input changed", outcome.said)
        return outcome
    finally:
        shutil.rmtree(place)


def _hashes(place: Path, case: Case) -> dict[str, str]:
    """Hashes of all files but those the command may write."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(out) for out in case.outputs)
    }


def report(count: int, seed: int, kinds: Sequence[str]) -> int:
    """Print the table; the exit code is 1 if anything ended otherwise than it should."""
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.raiseExceptions = False
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder, "good"))
        for number in range(count):
            kind = kinds[number % len(kinds)]
            outcome = attempt(kind, world, Path(folder, "bad"), random.Random(f"{seed}-{number}"))
            counts[kind][outcome.kind] += 1
            if outcome.kind not in GOOD:
                sys.stderr.write(f"--- {number} {kind}: {outcome.kind}\n{outcome.said[-3000:]}\n")
                sys.stderr.flush()
    columns = list(dict.fromkeys([*GOOD, "traceback", *(o for c in counts.values() for o in c)]))
    sys.stdout.write(f"| input | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}\n")
    for name, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        sys.stdout.write(f"| {name} | {' | '.join(str(found[c]) for c in columns)} |\n")
    return int(any(outcome not in GOOD for found in counts.values() for outcome in found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    sys.exit(report(given.count, given.seed, given.kinds))

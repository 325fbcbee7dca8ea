"""``emovc check``: one line for everything that is wrong with a file or a manifest."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emovc.common.cli import main
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.wav import missing_seconds, wav_info

RATE = 16_000
NOISE = 0.1 * np.random.default_rng(0).standard_normal(RATE).clip(-3, 3)
NAN = np.where(np.arange(RATE) == 500, np.nan, NOISE)
Write = Callable[[Path], object]


def sound(wav: np.ndarray, subtype: str = "PCM_16", kind: str = "WAV", rate: int = RATE) -> Write:
    return lambda path: soundfile.write(path, wav, rate, subtype=subtype, format=kind)


def row(path: Path, samples: int = RATE) -> Utterance:
    sha256 = sha256_of(path) if path.is_file() else "0" * 64
    return Utterance(f"c/{path.stem}", path, sha256, RATE, samples, "c_a", "c", split="train")


@pytest.fixture
def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Utterance]], tuple[int, list[str]]]:
    """Run the command on utterances; gives its exit code and its lines about problems."""

    def run(rows: list[Utterance]) -> tuple[int, list[str]]:
        write_manifest(tmp_path / "manifest.jsonl", rows)
        monkeypatch.setattr(sys, "argv", ["emovc", "check", str(tmp_path / "manifest.jsonl")])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        assert captured.err == ""
        lines = captured.out.splitlines()
        return code, [line for line in lines if line.startswith(("error: ", "warning: "))]

    return run


BAD = {
    "unreadable": (lambda p: p.write_bytes(b"RIFF...."), "error", "is not audio .* ffmpeg"),
    "zero_bytes": (lambda p: p.touch(), "error", "is an empty file; remove it"),
    "no_samples": (sound(NOISE[:0]), "error", "holds no samples; remove it"),
    "absent": (lambda p: None, "error", "no such audio file"),
    "a_folder": (lambda p: p.mkdir(), "error", "is a folder; name an audio file"),
    "silent": (sound(np.zeros(RATE)), "error", "is silent; remove it"),
    "nan": (sound(NAN, "FLOAT"), "error", "holds NaN or infinite samples; convert it"),
    "short": (sound(NOISE[:1600]), "error", "1600 samples .* run emovc prepare again"),
    "rate": (sound(NOISE, rate=8_000), "error", "at 8000 Hz and the manifest says .* 16000 Hz"),
    "stereo": (sound(np.stack([NOISE, NOISE], 1)), "warning", "has 2 channels; they are averaged"),
    "eight_bit": (sound(NOISE, "PCM_U8"), "warning", "8 bits, and so noisy"),
    "clipped": (sound(np.clip(50 * NOISE, -1, 1)), "warning", "is clipped; leave it out if"),
    "offset": (sound(NOISE + 0.2), "warning", "has a constant offset; filter it"),
    "inverted": (sound(np.stack([NOISE, -NOISE], 1)), "error", "channels cancel each other"),
    "aiff": (sound(NOISE, kind="AIFF"), "warning", "is AIFF inside; rename or convert it"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_audio(tmp_path: Path, check: Callable, name: str) -> None:
    write, level, what = BAD[name]
    path = tmp_path / f"{name}.wav"
    write(path)
    sound(NOISE)(tmp_path / "good.wav")
    code, lines = check([row(path), row(tmp_path / "good.wav")])
    own = [line for line in lines if str(path) in line]
    assert own and all(line.startswith(f"{level}: {path}: ") for line in own[:1])
    assert re.search(what, own[0]) and code == (level == "error")
    assert not any("good.wav" in line for line in lines)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_good_format_passes(tmp_path: Path, check: Callable, subtype: str) -> None:
    sound(NOISE, subtype)(tmp_path / "a.wav")
    assert check([replace(row(tmp_path / "a.wav"), emotion="sad")]) == (0, [])


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_that_was_cut_off(
    tmp_path: Path, check: Callable, subtype: str, channels: int
) -> None:
    path = tmp_path / "a.wav"
    sound(np.stack([NOISE] * channels, 1), subtype)(path)
    whole = path.read_bytes()
    assert missing_seconds(path) == 0
    path.write_bytes(whole[: len(whole) // 2])
    left = wav_info(path).num_samples
    code, lines = check([replace(row(path, left), emotion="sad")])
    assert code == 1 and re.search(r"a\.wav: was cut off: its header says 0\.5\d s more", lines[0])
    data = whole.index(b"data") + 4  # a size that programs write to pipes, which know no better
    path.write_bytes(whole[:data] + b"\xff" * 4 + whole[data + 4 :])
    assert missing_seconds(path) == 0


def test_headers_of_other_files_say_nothing(tmp_path: Path) -> None:
    for name, content in {"a": b"", "b": b"RIFF", "c": b"fLaC" * 20, "d": b"RIFF....WAVE"}.items():
        (tmp_path / name).write_bytes(content)
        assert missing_seconds(tmp_path / name) == 0
    assert missing_seconds(tmp_path) == 0 and missing_seconds(tmp_path / "absent") == 0


def test_too_short_and_too_long(tmp_path: Path, check: Callable) -> None:
    sound(NOISE[:3_200])(tmp_path / "short.wav")
    sound(np.tile(NOISE, 31))(tmp_path / "long.wav")
    rows = [row(tmp_path / "short.wav", 3_200), row(tmp_path / "long.wav", 31 * RATE)]
    code, lines = check([replace(u, emotion="sad") for u in rows])
    assert code == 1 and len(lines) == 2
    assert lines[0].endswith("short.wav: lasts 0.20 s, too short; remove it")
    assert lines[1].endswith("long.wav: lasts 31.0 s; cut it into sentences")


def test_leaks_and_duplicates(tmp_path: Path, check: Callable) -> None:
    rows = []
    for n, split in enumerate(("train", "test", "test", "train")):
        path = tmp_path / f"{n}.wav"
        sound(NOISE * (0.5 if n == 3 else 1.0 if n < 2 else 0.7))(path)
        sentence = "s" if n > 1 else None
        rows.append(replace(row(path), split=split, sentence=sentence, emotion="sad"))
    code, lines = check(rows)
    assert code == 1 and len(lines) == 3
    same, spoken, twice = lines
    assert "c/0 (train) and c/1 (test) have the same audio; keep one" in same
    assert "c/2 (test) and c/3 (train) are the same sentence, speaker, emotion and take" in spoken
    assert twice.startswith("warning: ") and "identical audio: c/0, c/1; keep one" in twice


def test_a_manifest_without_splits_or_labels(tmp_path: Path, check: Callable) -> None:
    sound(NOISE)(tmp_path / "a.wav")
    code, lines = check([replace(row(tmp_path / "a.wav"), split=None)])
    assert code == 0 and len(lines) == 2
    assert "has no splits" in lines[0] and "has no emotion labels" in lines[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speaker": None}, "jsonl:1: column speaker is missing; emovc prepare writes it"),
        ({"emotion": "joy"}, "jsonl:1: unknown emotion 'joy'; use one of neutral, angry"),
        ({"mood": "good"}, "jsonl:1: unknown column mood; known are id, path"),
        ({"split": "dev"}, "jsonl:1: unknown split 'dev'; use one of train, val, test"),
        ({"sample_rate": 0}, "jsonl:1: column sample_rate holds 0; it must be a rate above 0"),
    ],
)
def test_bad_manifests(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    message: str,
) -> None:
    sound(NOISE)(tmp_path / "a.wav")
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [row(tmp_path / "a.wav")])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    monkeypatch.setattr(sys, "argv", ["emovc", "check", str(path)])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert error.startswith(f"emovc: {path}:1: ") and message in error

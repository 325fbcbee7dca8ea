"""``emovc convert``: convert files with a trained model."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emovc.common.audio import LogMel, require_same_mel
from emovc.common.conversion import Converter, EmotionTarget, Speech, Vocoder
from emovc.common.errors import Unfinished, UserError, printable
from emovc.common.files import same_file
from emovc.common.pretrained import load_converter
from emovc.common.wav import COMPRESSED, ENDINGS, SILENCE, UNREAD, read_wav, write_wav
from emovc.common.yaml_files import parse_yaml

GRIFFIN_LIM = "griffin-lim"  # as --vocoder
UNLIKE = 3  # durations so many times apart don't say the same words


def convert(
    run: Path,
    sources: list[Path],
    out: Path,
    reference: list[Path] | None = None,
    emotion: str | None = None,
    arousal: float | None = None,
    strength: float | None = None,
    vocoder: Path | None = None,
    speaker: str | None = None,
    text: str | None = None,
    set: list[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    batch_size: int = 1,
) -> None:
    """Convert speech towards the emotion of a reference, or another target the model takes.

    Of several files, those that can't be converted are named, and the others are converted.

    Args:
        run: Run, checkpoint or exported folder.
        sources: Audio files, or folders of them.
        out: File to write, or folder for several sources.
        reference: Audio with the emotion wanted.
        emotion: Category wanted.
        arousal: Arousal wanted, 1 to 7.
        strength: Strength wanted, 0 to 1.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the vocoder for emotional speech
            that comes with emovc, or Griffin-Lim where the model has another mel.
        speaker: Name of the sources' speaker, for models with a table of speakers.
        text: What is said in the source, for models that read it; all sources say the same then.
        set: Settings of the model to override, as NAME=VALUE.
        seed: Of whatever the model draws.
        device: Device to compute on.
        batch_size: Files converted together, of models that can; worth it on a GPU.
    """
    converter = load_converter(run, parse_settings(set or [])).to(device)
    voice = load_vocoder(vocoder, converter.frontend, device)
    rate = converter.frontend.sample_rate
    references = [read_speech(path, rate, device) for path in reference or []]
    target = EmotionTarget(references, emotion, arousal, strength)
    converter.needs.check(target)
    if batch_size < 1 or (batch_size > 1 and not hasattr(converter, "convert_batch")):
        raise UserError(f"batch_size {batch_size}: this model converts one file at a time; give 1")
    files = expand(sources)
    jobs = list(zip(files, places_of(files, out), strict=True))
    require_no_input([place for _, place in jobs], reference or [])
    failures: list[str] = []
    for first in range(0, len(jobs), batch_size):
        part: list[tuple[Speech, Path]] = []
        for source, place in jobs[first : first + batch_size]:
            try:
                speech = replace(read_speech(source, rate, device, speaker), text=text)
            except UserError as error:
                _note(failures, error, jobs)
                continue
            if converter.needs.parallel:
                _compare_durations(speech, references, source)
            part.append((speech, place))
        try:
            mels = _mels(converter, [speech for speech, _ in part], target, seed)
            for mel, (_, place) in zip(mels, part, strict=True):
                write_wav(place, vocode(voice, mel).cpu().numpy(), rate)
                sys.stdout.write(f"{place}\n")
        except UserError as error:
            _note(failures, error, jobs)
    if failures:
        raise Unfinished(f"{len(failures)} of {len(jobs)} files were not converted, see above")


def _note(failures: list[str], error: UserError, jobs: Sequence[Any]) -> None:
    """Say what failed and go on, or end where there is nothing else to do."""
    if len(jobs) == 1:
        raise error
    failures.append(str(error))
    sys.stderr.write(f"emovc: {printable(str(error))}\n")


def _compare_durations(source: Speech, references: Sequence[Speech], file: Path) -> None:
    """Warn of references that can hardly say the source's words."""
    for reference in references:
        seconds = [len(s.wav) for s in (source, reference)]
        if max(seconds) > UNLIKE * min(seconds):
            rate = max(seconds) / min(seconds)
            sys.stderr.write(
                f"emovc: warning: {file}: the reference's duration is {rate:.1f} times apart from"
                " it, but this model needs a reference of the same words\n"
            )


def _mels(
    converter: Any, sources: Sequence[Speech], target: EmotionTarget, seed: int
) -> list[Tensor]:
    """Converted log-mels, (M, T) each, of any number of sources."""
    if not sources:
        return []
    if len(sources) == 1:
        return [converter.convert(sources[0], target, seed)]
    same = [target] * len(sources), [seed] * len(sources)
    return converter.convert_batch(sources, *same)


def synthesise(
    converter: Converter, vocoder: Vocoder, source: Speech, target: EmotionTarget, seed: int
) -> Tensor:
    """Converted waveform, (N,)."""
    return vocode(vocoder, converter.convert(source, target, seed))


def vocode(vocoder: Vocoder, mel: Tensor) -> Tensor:
    """Waveform (N,) of a log-mel (M, T)."""
    with torch.inference_mode():
        return vocoder(mel[None].float())[0].clamp(-1, 1)


def load_vocoder(folder: Path | None, frontend: LogMel, device: str) -> Vocoder:
    """The vocoder in a folder, or the one that comes with emovc where it fits the mel.

    Args:
        folder: Folder of a HiFi-GAN, or ``griffin-lim``. ``None``: the shipped vocoder for mels of
            its settings, Griffin-Lim for others.
        frontend: Mel of the model.
        device: Device of the vocoder.

    Raises:
        UserError: The vocoder is of another mel than the model.
    """
    from emovc.common.griffin_lim import GriffinLim
    from emovc.common.refined_vocoder import SHIPPED, RefinedVocoder
    from emovc.common.vocoder_files import read_config

    plain = folder is not None and str(folder).lower() == GRIFFIN_LIM and not folder.exists()
    if folder is None:
        plain = read_config(SHIPPED / "config.json").frontend.mel_id != frontend.mel_id
    if plain:
        return GriffinLim(frontend).to(device)
    vocoder = RefinedVocoder.from_pretrained(folder).to(device)
    require_same_mel(frontend, vocoder.frontend.settings, f"{folder}: the vocoder")
    return vocoder


def read_speech(
    path: str | Path, sample_rate: int, device: str = "cpu", speaker: str | None = None
) -> Speech:
    """Read an utterance that can be converted.

    Raises:
        UserError: The file is unreadable, silent, or shorter than 0.1 s.
    """
    wav, _ = read_wav(Path(path), sample_rate)
    if abs(wav).max() < SILENCE:
        raise UserError(f"{path}: is silent; give a recording of speech")
    if len(wav) < sample_rate // 10:
        raise UserError(f"{path}: lasts {len(wav) / sample_rate:.3f} s; at least 0.1 s is needed")
    return Speech(torch.from_numpy(wav).to(device), speaker)


def expand(paths: Sequence[Path]) -> list[Path]:
    """Files, and the audio files in folders, in order; hidden files are left out.

    Audio that can't be read is named on standard error.

    Raises:
        UserError: A path does not exist or a folder holds no audio.
    """
    files: list[Path] = []
    for path in paths:
        found = [path]
        if path.is_dir():
            shown = sorted(p for p in path.iterdir() if not p.name.startswith("."))
            found = [p for p in shown if p.suffix.lower() in (*ENDINGS, *COMPRESSED)]
            for other in (p for p in shown if p.suffix.lower() in UNREAD):
                sys.stderr.write(f"emovc: warning: {other}: left out; convert it to wav or flac\n")
        if not found or not found[0].exists():
            raise UserError(f"{path}: no audio file; give .wav or .flac files or a folder of them")
        files += found
    return files


def places_of(files: Sequence[Path], out: Path) -> list[Path]:
    """Where each result goes: ``out`` itself for one file, else ``out/<name>.wav``.

    Raises:
        UserError: Two files have the same name, so that one result would replace the other; or a
            result would replace a source.
    """
    if len(files) == 1 and out.suffix:
        require_no_input([out], files)
        return [out]
    sources: dict[Path, Path] = {}
    for file in files:
        place = out / f"{file.stem}.wav"
        first = sources.setdefault(place, file)
        if first is not file:
            raise UserError(f"{file}: has the same name as {first}; convert it to another OUT")
    require_no_input(list(sources), files)
    return list(sources)


def require_no_input(places: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refuse to write over what is read.

    Args:
        places: Files to write.
        inputs: Files that are read.

    Raises:
        UserError: One of them is among the others.
    """
    read = {path.resolve() for path in inputs}
    for place in places:
        if place.resolve() in read or (place.exists() and any(same_file(place, p) for p in inputs)):
            raise UserError(f"{place}: is an input and would be overwritten; give another OUT")


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Settings of the model from NAME=VALUE, the value in YAML.

    Raises:
        UserError: One has no ``=`` or is no YAML.
    """
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        try:
            parsed[name] = parse_yaml(value, f"--set {name}")
        except UserError:
            equals = ""
        if not equals:
            raise UserError(f"--set {setting}: write NAME=VALUE, for instance factors=[pitch]")
    return parsed


def main(command: str, args: list[str]) -> None:
    """Run ``emovc convert``."""
    from emovc.common.parsing import run_function

    run_function(convert, args, command, many="sources", out=True)

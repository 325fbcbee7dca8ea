"""``emovc synthesize``: say a text in the voice and emotion of references."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from emovc.common.conversion import Speech
from emovc.common.convert import load_vocoder, read_speech, require_no_input, vocode
from emovc.common.errors import UserError
from emovc.common.parsing import run_function
from emovc.common.wav import write_wav
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.style_level import Level
from emovc.genner_tts.style_request import StyleRequest
from emovc.genner_tts.synthesizer import GennerTTS

LocalStyleUse = Literal["all", "frame", "none"]
LEVELS: dict[LocalStyleUse, tuple[Level, ...] | None] = {
    "all": None,
    "frame": ("frame",),
    "none": (),
}


def synthesize(
    run: Path,
    text: str,
    reference: list[Path],
    out: Path,
    language: str | None = None,
    reference_text: list[str] | None = None,
    reference_language: str | None = None,
    voice: list[Path] | None = None,
    local: LocalStyleUse = "all",
    quantizer: Path | None = None,
    lam: float = 0.0,
    vocoder: Path | None = None,
    duration_scale: float = 1.0,
    noise_scale: float = 0.8,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Say a text in the voice, emotion and prosody of references.

    Args:
        run: Run, checkpoint or exported folder of a Genner TTS.
        text: What to say.
        reference: Recordings whose emotion, prosody and voice are taken.
        out: File to write.
        language: Language of the text, such as ``en`` or ``pl``; by default the model's.
        reference_text: What is said in each reference; without it only their prosody per frame
            is taken.
        reference_language: Language of those texts; by default that of the text.
        voice: Recordings whose voice is taken instead; with neutral ones of the same speaker the
            voice carries no emotion.
        local: Prosody to take: of frames, phones and words as far as they are known, of frames
            only, or none, so that the vectors of voice and emotion alone count.
        quantizer: Folder of an emotion quantiser, which quantises the emotion vector.
        lam: The quantiser's lambda; the larger, the fewer bits.
        vocoder: Folder of a HiFi-GAN, or griffin-lim; by default the shipped vocoder.
        duration_scale: Factor on durations; 2 is half as fast.
        noise_scale: Standard deviation of the post-net's noise.
        seed: Of that noise.
        device: Device to compute on.
    """
    require_no_input([out], [*reference, *(voice or [])])
    if duration_scale <= 0 or noise_scale < 0:
        raise UserError("duration_scale must be above 0, noise_scale 0 or more")
    if quantizer is None and lam:
        raise UserError(f"lam {lam}: needs --quantizer FOLDER")
    model = GennerTTS.from_pretrained(run).to(device)
    codes = None if quantizer is None else EmotionQuantizer.from_pretrained(quantizer).to(device)
    voice_of_mels, rate = load_vocoder(vocoder, model.frontend, device), model.frontend.sample_rate
    style = StyleRequest(
        read_references(reference, reference_text, reference_language, rate, device),
        [read_speech(path, rate, device) for path in voice or []],
        levels=LEVELS[local],
    )
    tongue = language or model.language
    spoken = model.synthesise(text, tongue, style, codes, lam, duration_scale, noise_scale, seed)
    write_wav(out, vocode(voice_of_mels, spoken.mel).cpu().numpy(), rate)
    if spoken.bits is not None:
        sys.stdout.write(f"emotion in {spoken.bits:.1f} bit\n")
    sys.stdout.write(f"{out}\n")


def read_references(
    paths: list[Path],
    texts: list[str] | None,
    language: str | None,
    sample_rate: int,
    device: str,
) -> list[Speech]:
    """References with their texts.

    Raises:
        UserError: There is not one text for each, or a file can't be used.
    """
    if texts is not None and len(texts) != len(paths):
        raise UserError(
            f"reference_text: {len(texts)} texts for {len(paths)} references; give one for each"
        )
    said: list[str | None] = [None] * len(paths) if texts is None else list(texts)
    return [
        replace(read_speech(path, sample_rate, device), text=text, language=language)
        for path, text in zip(paths, said, strict=True)
    ]


def main(command: str, args: list[str]) -> None:
    """Run ``emovc synthesize``."""
    run_function(synthesize, args, command, out=True)

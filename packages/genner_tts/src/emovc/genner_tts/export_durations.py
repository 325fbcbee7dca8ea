"""``emovc export-durations``: how long the phones of a corpus last, by a trained aligner."""

import sys
from pathlib import Path

import torch

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.parsing import run_function
from emovc.common.progress import progress
from emovc.common.wav import read_wav
from emovc.common.weights import weights_hash
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.durations_file import Timed, durations_path, write_durations
from emovc.genner_tts.inventory import PhoneInventory
from emovc.genner_tts.text_data import text_of


def export_durations(
    run: Path, manifest: Path, out: Path | None = None, device: str = "cpu"
) -> None:
    """Write the frames of each phone of all utterances that can be aligned.

    Utterances without text or language, with phones that the aligner never heard, or with fewer
    frames than phones are left out and counted.

    Args:
        run: Run, checkpoint or exported folder of the aligner.
        manifest: Manifest with texts.
        out: File to write; by default ``<manifest>.durations.jsonl`` beside the manifest.
        device: Device to compute on.
    """
    aligner = Aligner.from_pretrained(run).to(device)
    utterances = read_manifest(manifest)
    inventory = aligner.phones.inventory
    found: dict[str, Timed] = {}
    refused: list[str] = []
    for utterance in progress(utterances, "aligning", len(utterances)):
        try:
            found[utterance.sha256] = timed(aligner, inventory, utterance, device)
        except UserError as error:
            refused.append(f"{utterance.id}: {error}")
    if not found:
        raise UserError(f"{manifest}: no utterance can be aligned; {refused[0]}")
    path = out or durations_path(manifest)
    frontend = aligner.frontend
    made = {
        "source": "aligner",
        "sample_rate": frontend.sample_rate,
        "hop_length": frontend.hop_length,
        "weights": weights_hash(aligner),
    }
    write_durations(path, made, found)
    sys.stdout.write(f"{len(utterances) - len(refused)} of {len(utterances)} utterances aligned\n")
    if refused:
        sys.stdout.write(f"left out, for instance {refused[0]}\n")
    sys.stdout.write(f"{path}\n")


def timed(aligner: Aligner, inventory: PhoneInventory, utterance: Utterance, device: str) -> Timed:
    """Phones of an utterance and their frames.

    Args:
        aligner: The aligner.
        inventory: Its phones.
        utterance: The utterance.
        device: Device of the aligner.

    Raises:
        UserError: It can't be aligned.
    """
    said = inventory.pronounce(*text_of(utterance))
    wav, _ = read_wav(utterance.path, aligner.frontend.sample_rate)
    return Timed(said.phones, aligner.align(torch.from_numpy(wav).to(device), said).tolist())


def main(command: str, args: list[str]) -> None:
    """Run ``emovc export-durations``."""
    run_function(export_durations, args, command)

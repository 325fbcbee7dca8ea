"""Our emotion2vec against FunASR's on a CPU, in one run.

Both have the base model's size and the same random weights, which changes no time. The utterances
have the lengths of recordings of a manifest, or 1 to 6 s. FunASR encodes them one by one; ours does
so too, in batches as the product does it on a CPU (utterances of equal length together), and padded
as it does on a GPU. Printed are medians of the processor time per second of audio, and how much
less of it is needed than by FunASR.

    python benchmarks/bench_emotion2vec.py [data/emodb/manifest.jsonl]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from funasr.models.emotion2vec.model import Emotion2vec as FunAsr
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from emovc.common.emotion2vec import RATE, Emotion2vec
from emovc.common.manifest import read_manifest


def reference(ours: Emotion2vec) -> FunAsr:
    """FunASR's network with the weights of ours."""
    audio = dict(
        feature_encoder_spec="[(512,10,5)] + [(512,3,2)]*4 + [(512,2,2)]*2",
        extractor_mode="layer_norm", conv_pos_width=95, conv_pos_depth=5, conv_pos_groups=16,
        conv_pos_pre_ln=False, prenet_depth=4, prenet_layerdrop=0.0, prenet_dropout=0.1,
        start_drop_path_rate=0.0, end_drop_path_rate=0.0, num_extra_tokens=10,
        init_extra_token_zero=True, local_grad_mult=1.0, use_alibi_encoder=True,
        num_alibi_heads=12, alibi_scale=1.0, learned_alibi=False, alibi_max_pos=None,
        learned_alibi_scale=True, learned_alibi_scale_per_head=True,
        learned_alibi_scale_per_layer=False, model_depth=8, decoder=None,
    )  # fmt: skip
    conf = dict(
        embed_dim=768, num_heads=12, depth=8, mlp_ratio=4.0, norm_eps=1e-5, norm_affine=True,
        layer_norm_first=False, end_of_block_targets=False, encoder_dropout=0.1,
        attention_dropout=0.1, activation_dropout=0.0, post_mlp_drop=0.1, dropout_input=0.0,
        start_drop_path_rate=0.0, end_drop_path_rate=0.0, layerdrop=0.0, clone_batch=8,
        normalize=True, modalities=dict(audio=audio),
    )  # fmt: skip
    theirs = FunAsr(model_conf=conf, vocab_size=-1).eval()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    durations = [1 + 5 * k / args.files for k in range(args.files)]
    if args.manifest is not None:
        rows = read_manifest(args.manifest)
        durations = [rows[k * len(rows) // args.files].seconds for k in range(args.files)]
    wavs = [0.1 * torch.randn(int(RATE * d)) for d in sorted(durations)]
    lengths = torch.tensor([len(wav) for wav in wavs])
    batch = pad_sequence(wavs, batch_first=True)
    ours = Emotion2vec().eval()
    theirs = reference(ours)

    def original(wav: Tensor) -> Tensor:
        source = F.layer_norm(wav, wav.shape)[None]
        return theirs.extract_features(source, None, mask=False, remove_extra_tokens=True)["x"]

    def padded() -> Tensor:
        prepared, counts = ours._prepare(batch, lengths)
        return ours._encode_padded(prepared, counts, False)[0]

    contestants: dict[str, Callable[[], object]] = {
        "FunASR, one by one": lambda: [original(wav) for wav in wavs],
        "ours, one by one": lambda: [ours(wav[None]) for wav in wavs],
        "ours, a batch on a CPU": lambda: ours(batch, lengths),
        "ours, padded": padded,
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.inference_mode():
        for k in range(args.rounds + 1):
            for name, run in contestants.items():
                start = time.process_time()
                run()
                if k:  # the first round warms up
                    times[name].append(time.process_time() - start)
        frames = ours(batch, lengths).frames
        for i, wav in enumerate(wavs):
            wanted = original(wav)[0]
            torch.testing.assert_close(frames[i, : len(wanted)], wanted, atol=1e-4, rtol=0)
    seconds = float(lengths.sum()) / RATE
    print(f"{len(wavs)} utterances, {seconds / len(wavs):.1f} s each on average, one thread")
    base = statistics.median(times["FunASR, one by one"])
    for name, values in times.items():
        taken = statistics.median(values)
        print(f"{name:24} processor {taken / seconds:.3f} s/s  x{base / taken:.2f}")


if __name__ == "__main__":
    main()

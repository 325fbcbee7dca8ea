"""NISQA: its front end against librosa, its scores against the authors' program, bad files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.judges.nisqa import Nisqa
from emovc.common.judges.nisqa_loading import SCORES, load_nisqa
from emovc.common.judges.nisqa_mel import NisqaMel
from emovc.common.judging import Goal
from emovc.common.panel import Panel, read_judges
from emovc.common.wav import read_wav

DIMENSIONS: dict[str, Any] = dict(  # in the form of nisqa.tar, but small
    model="NISQA_DIM", double_ended=False, ms_sr=None, ms_fmax=20_000, ms_n_fft=4096,
    ms_hop_length=0.01, ms_win_length=0.02, ms_n_mels=48, ms_seg_length=15, ms_seg_hop_length=4,
    ms_max_segments=30, cnn_model="adapt", cnn_c_out_1=2, cnn_c_out_2=3, cnn_c_out_3=4,
    cnn_kernel_size=(3, 3), cnn_fc_out_h=None, cnn_pool_1=[24, 7], cnn_pool_2=[12, 5],
    cnn_pool_3=[6, 3], td="self_att", td_sa_d_model=8, td_sa_nhead=1, td_sa_pos_enc=False,
    td_sa_num_layers=2, td_sa_h=8, td_2="skip", pool="att", pool_att_h=4,
)  # fmt: skip
NATURALNESS = DIMENSIONS | dict(  # in the form of nisqa_tts.tar
    model="NISQA", ms_fmax=8_000, ms_seg_hop_length=1, cnn_model="standard", cnn_fc_out_h=5,
    cnn_pool_1=None, cnn_pool_2=None, cnn_pool_3=None, td="lstm", td_lstm_h=6,
    td_lstm_num_layers=1, td_lstm_bidirectional=True, pool="last_step_bi",
)  # fmt: skip
# Scores that the authors' program (commit fe84f0f) gives with librosa 0.11: MOS, noisiness,
# discontinuity, coloration, loudness of nisqa.tar, MOS of nisqa_mos_only.tar and of nisqa_tts.tar;
# of a recording and of the same with white noise at 10 dB; at the recording's own rate, and read
# at 48 kHz (ms_sr=48000).
EXPECTED = {
    "nemo/samples/EB0_anger_10": {
        (None, False): (3.7230, 3.4769, 4.0576, 3.8614, 4.1151, 3.7789, 3.8289),
        (None, True): (2.0077, 1.6500, 4.2454, 3.6416, 3.8931, 2.0636, 2.3122),
        (48_000, False): (3.8552, 3.4690, 4.0980, 3.8555, 4.1154, 3.9111, 3.6557),
        (48_000, True): (1.8494, 1.5737, 4.3239, 3.7122, 3.5915, 1.9053, 2.4158),
    },
    "nemo/samples/MK0_sadness_28": {
        (None, False): (2.6681, 2.2507, 4.2847, 4.1043, 4.2223, 2.7240, 3.0648),
        (None, True): (1.7854, 1.5521, 4.0665, 3.4179, 3.6553, 1.8413, 2.1438),
        (48_000, False): (3.0598, 2.0242, 4.3716, 4.0150, 4.1541, 3.1157, 3.1112),
        (48_000, True): (1.6471, 1.4749, 4.2188, 3.6272, 3.5267, 1.7030, 2.0725),
    },
    "emodb/wav/03a01Fa": {
        (None, False): (4.7319, 4.5124, 4.5178, 4.0496, 4.3553, 4.7878, 2.5506),
        (None, True): (1.5217, 1.5510, 3.0554, 2.3406, 2.5318, 1.5776, 2.6555),
        (48_000, False): (4.8724, 4.5838, 4.6651, 4.2182, 4.5144, 4.9283, 2.6407),
        (48_000, True): (1.3400, 1.3825, 2.8433, 2.3972, 2.5485, 1.3959, 2.6262),
    },
    "emodb/wav/16b10Tb": {
        (None, False): (3.8099, 2.5152, 4.3712, 3.6601, 3.3829, 3.8658, 3.1919),
        (None, True): (0.7783, 1.5978, 2.4861, 1.3098, 1.6457, 0.8342, 2.2787),
        (48_000, False): (3.8235, 2.4414, 4.3994, 3.7713, 3.0769, 3.8794, 3.0202),
        (48_000, True): (0.5553, 1.4662, 2.3641, 1.2228, 1.4932, 0.6112, 2.2385),
    },
    "ravdess/Actor_01/03-01-01-01-01-01-01": {
        (None, False): (3.5192, 4.4186, 4.6970, 4.1816, 2.2959, 3.5751, 2.8271),
        (None, True): (1.4349, 1.4522, 3.6471, 2.1027, 2.3356, 1.4908, 2.7235),
        (48_000, False): (3.7535, 4.4491, 4.9068, 4.3375, 2.2968, 3.8094, 3.1496),
        (48_000, True): (2.2798, 1.4113, 4.7268, 3.0819, 3.1320, 2.3357, 2.8797),
    },
    "ravdess/Actor_12/03-01-05-02-02-01-12": {
        (None, False): (3.9934, 4.3514, 4.4181, 4.3044, 4.3270, 4.0493, 4.0541),
        (None, True): (2.0649, 1.6182, 4.3512, 3.0172, 4.1071, 2.1208, 2.3402),
        (48_000, False): (3.7812, 4.1432, 4.3910, 4.3271, 4.3461, 3.8371, 4.2343),
        (48_000, True): (1.7213, 1.5168, 4.3005, 3.1930, 3.7073, 1.7772, 2.2233),
    },
}  # fmt: skip


def official_weights(options: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Random weights by the names and in the shapes of the authors' program."""
    draw = torch.Generator().manual_seed(0)
    one, two, three = (options[f"cnn_c_out_{k}"] for k in (1, 2, 3))
    adaptive, size = options["cnn_model"] == "adapt", options["td_sa_d_model"]
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    widths = [1, one, two, three, three, three, three]
    for k in range(1, 7):
        layer(f"cnn.model.conv{k}", widths[k], widths[k - 1], 3, 3)
        layer(f"cnn.model.bn{k}", widths[k])
        for part in ("running_mean", "running_var"):
            shapes[f"cnn.model.bn{k}.{part}"] = (widths[k],)
    vector = 6 * three if adaptive else options["cnn_fc_out_h"]
    if options["td"] == "self_att":
        layer("time_dependency.model.linear", size, vector)
        layer("time_dependency.model.norm1", size)
        for k in range(options["td_sa_num_layers"]):
            name = f"time_dependency.model.layers.{k}"
            shapes[f"{name}.self_attn.in_proj_weight"] = (3 * size, size)
            shapes[f"{name}.self_attn.in_proj_bias"] = (3 * size,)
            layer(f"{name}.self_attn.out_proj", size, size)
            layer(f"{name}.linear1", options["td_sa_h"], size)
            layer(f"{name}.linear2", size, options["td_sa_h"])
            layer(f"{name}.norm1", size)
            layer(f"{name}.norm2", size)
        for k in range(5):
            layer(f"pool_layers.{k}.model.linear1", options["pool_att_h"], size)
            layer(f"pool_layers.{k}.model.linear2", 1, options["pool_att_h"])
            layer(f"pool_layers.{k}.model.linear3", 1, size)
    else:
        hidden = options["td_lstm_h"]
        layer("cnn.model.fc_out", vector, 12 * three)
        for way in ("", "_reverse"):
            name = "time_dependency.model.lstm"
            shapes[f"{name}.weight_ih_l0{way}"] = (4 * hidden, vector)
            shapes[f"{name}.weight_hh_l0{way}"] = (4 * hidden, hidden)
            shapes[f"{name}.bias_ih_l0{way}"] = shapes[f"{name}.bias_hh_l0{way}"] = (4 * hidden,)
        layer("pool.model.linear", 1, 2 * hidden)
    weights = {
        name: torch.randn(shape, generator=draw) / (3 if len(shape) > 1 else 1)
        for name, shape in shapes.items()
    }
    for k in range(1, 7):
        weights[f"cnn.model.bn{k}.num_batches_tracked"] = torch.tensor(1)
        weights[f"cnn.model.bn{k}.running_var"] = torch.ones(widths[k])
    return weights


def write(path: Path, options: dict[str, Any], **changed: Any) -> Path:
    """Write a checkpoint with random weights; ``changed`` options don't change the weights."""
    torch.save({"args": options | changed, "model_state_dict": official_weights(options)}, path)
    return path


def voice(seconds: float, rate: int) -> np.ndarray:
    """A harmonic sound with noise, whose loudness varies."""
    time = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 30))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * (sound + 0.05 * noise) * (1.1 + np.sin(6 * time))).astype(np.float32)


def mel_of(options: dict[str, Any], folder: Path) -> NisqaMel:
    return load_nisqa(write(folder / "nisqa.tar", options))[1]


@pytest.mark.filterwarnings("ignore:Empty filters")  # above half the rate
@pytest.mark.parametrize("rate", [48_000, 22_050, 16_000])
def test_the_mel_is_that_of_librosa(rate: int, tmp_path: Path) -> None:
    librosa = pytest.importorskip("librosa")
    wav = voice(1.3, rate)
    magnitude = librosa.feature.melspectrogram(
        y=wav, sr=rate, n_fft=4096, hop_length=int(rate * 0.01), win_length=int(rate * 0.02),
        window="hann", center=True, pad_mode="reflect", power=1.0, n_mels=48, fmin=0.0, fmax=20_000,
    )  # fmt: skip
    wanted = librosa.amplitude_to_db(magnitude, ref=1.0, amin=1e-4, top_db=80.0)
    mel = mel_of(DIMENSIONS, tmp_path).mel(wav, rate).numpy()
    assert mel.shape == wanted.shape
    assert np.abs(mel - wanted).max() < 0.01  # dB


def test_segments_are_what_stands_at_their_place(tmp_path: Path) -> None:
    front = mel_of(DIMENSIONS, tmp_path)
    wav = voice(0.5, 48_000)
    mel, segments = front.mel(wav, 48_000), front.segments(wav, 48_000)
    assert segments.shape == (10, 48, 15)  # 51 frames hold 37 segments, of which every fourth
    for k, segment in enumerate(segments):
        assert torch.equal(segment, mel[:, 4 * k : 4 * k + 15])


@pytest.mark.parametrize("rate", [48_000, 22_050])
def test_what_is_too_long_is_cut_where_it_must_be(rate: int, tmp_path: Path) -> None:
    front = mel_of(DIMENSIONS, tmp_path)
    longest = front.longest(rate)
    assert len(front.segments(voice(longest / rate, rate), rate)) == 30
    assert len(front.segments(voice((longest + 1) / rate, rate), rate)) == 31
    wav = voice((longest + 1) / rate, rate)
    pieces = front.pieces(wav, rate)
    assert len(pieces) == 2 and np.array_equal(np.concatenate(pieces), wav)
    assert [len(piece) for piece in front.pieces(wav[:longest], rate)] == [longest]


@pytest.mark.parametrize("options", [DIMENSIONS, NATURALNESS])
def test_padding_and_company_change_no_score(options: dict[str, Any], tmp_path: Path) -> None:
    network, _, _ = load_nisqa(write(tmp_path / "nisqa.tar", options))
    counts = torch.tensor([7, 1, 4])
    segments = torch.randn(3, 7, 48, 15)
    with torch.inference_mode():
        together = network(segments, counts)
        for k, count in enumerate(counts):
            alone = network(segments[k : k + 1, :count], counts[k : k + 1])
            assert torch.allclose(together[k], alone[0], atol=1e-5)
        assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_a_long_recording_has_the_mean_of_its_pieces(tmp_path: Path) -> None:
    judge = Nisqa(write(tmp_path / "nisqa.tar", DIMENSIONS))
    wav = voice(2.0, 48_000)  # 1.3 s are 30 segments
    whole, halves = judge.hear(wav, 48_000), [judge.hear(w, 48_000) for w in np.split(wav, 2)]
    for metric, value in whole.items():
        assert value == pytest.approx(np.mean([half[metric] for half in halves]), abs=1e-5)


def test_scores_are_named_after_the_file(tmp_path: Path) -> None:
    judge = Nisqa(write(tmp_path / "nisqa.tar", DIMENSIONS))
    assert list(judge.metrics) == [f"{score}_nisqa" for score in SCORES]
    assert judge.metrics["coloration_nisqa"] == "NISQA coloration"
    heard = judge.hear(voice(1.0, 22_050), 22_050)
    assert judge.judge(heard, {}, Goal("sad", None, None, "a")).metrics == heard
    assert list(heard) == list(judge.metrics) and len(judge.about["weights"]) == 12
    natural = Nisqa(write(tmp_path / "nisqa_tts.tar", NATURALNESS))
    assert natural.metrics == {"mos_nisqa_tts": "NISQA-TTS MOS"}
    assert "Blizzard Challenges" in natural.about["trained_on"]
    assert list(Nisqa(tmp_path / "nisqa_tts.tar", "natural").metrics) == ["mos_natural"]


def test_no_speech_is_named(tmp_path: Path) -> None:
    judge = Nisqa(write(tmp_path / "nisqa.tar", DIMENSIONS))
    for wav, reason in ((np.zeros(9999), "silent"), (voice(0.13, 16_000), "shorter than 0.14 s")):
        with pytest.raises(UserError, match=reason):
            judge.hear(wav, 16_000)
    for rate in (8_000, 16_000, 22_050, 44_100):  # the shortest there is fills a segment
        for own in (None, 48_000):
            judge.rate = own
            assert np.isfinite(list(judge.hear(voice(0.141, rate), rate).values())).all()


@pytest.mark.parametrize(
    "key, value",
    [
        ("td_2", "lstm"), ("cnn_model", "dff"), ("td", "skip"), ("pool", "max"),
        ("double_ended", True), ("model", "NISQA_DE"), ("ms_n_fft", "4096"), ("ms_hop_length", 0),
        ("cnn_pool_2", [12]),
        ("td_sa_pos_enc", True), ("cnn_c_out_1", None), ("cnn_kernel_size", [5, 5]),
    ],
)  # fmt: skip
def test_options_of_another_kind_are_named(key: str, value: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "nisqa.tar", DIMENSIONS, **{key: value})
    with pytest.raises(UserError, match=rf"nisqa\.tar: {key} is .* must be .*gabrielmittag/NISQA"):
        load_nisqa(path)


def test_bad_checkpoints_are_named_with_the_remedy(tmp_path: Path) -> None:
    remedy = "weights/nisqa.tar.*gabrielmittag/NISQA"
    path = tmp_path / "nisqa.tar"
    with pytest.raises(UserError, match=f"no such file of weights; .*{remedy}"):
        Nisqa(path)
    whole = write(path, DIMENSIONS).read_bytes()
    for share in (0.02, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=f"not a whole checkpoint .*{remedy}"):
            Nisqa(path)
    path.write_text("not weights")
    with pytest.raises(UserError, match=remedy):
        Nisqa(path)
    torch.save({"state_dict": {}, "args": 3}, path)
    with pytest.raises(UserError, match=f"is no checkpoint of NISQA; .*{remedy}"):
        Nisqa(path)
    write(path, DIMENSIONS, td_sa_d_model=12)
    with pytest.raises(UserError, match=r"have another shape"):
        Nisqa(path)


def test_the_rest_of_the_panel_is_scored_without_it(tmp_path: Path) -> None:
    listed = tmp_path / "judges.yaml"
    listed.write_text(
        "- class_path: emovc.common.judges.nisqa.Nisqa\n  optional: true\n"
        f"  init_args: {{weights: {tmp_path / 'absent.tar'}}}\n"
        "- class_path: emovc.common.judges.nisqa.Nisqa\n"
        f"  init_args: {{weights: {write(tmp_path / 'nisqa.tar', DIMENSIONS)}}}\n"
    )
    judges, left_out = read_judges(listed)
    assert [judge.name for judge in judges] == ["nisqa"]
    assert len(left_out) == 1 and "absent.tar: no such file" in left_out[0]
    heard = Panel(judges, 16_000).hear(voice(1.0, 16_000))
    assert list(heard["nisqa"]) == [f"{score}_nisqa" for score in SCORES]


@pytest.mark.parametrize("rate", [None, 48_000])
def test_scores_are_those_of_the_authors_program(rate: int | None, shared: Path) -> None:
    folder = shared / "weights" / "nisqa"
    judges = [
        Nisqa(folder / f"{name}.tar", rate=rate)
        for name in ("nisqa", "nisqa_mos_only", "nisqa_tts")
    ]
    for name, expected in EXPECTED.items():
        clean, own = read_wav(shared / "data" / f"{name}.flac")
        noise = np.random.default_rng(0).standard_normal(len(clean))
        power = np.mean(np.square(clean, dtype=np.float64)) * 0.1 / np.mean(np.square(noise))
        noisy = (clean + noise * np.sqrt(power)).astype(np.float32)
        for wav, noise_added in ((clean, False), (noisy, True)):
            scores = [score for judge in judges for score in judge.hear(wav, own).values()]
            assert scores == pytest.approx(expected[rate, noise_added], abs=1e-3)


def test_a_score_hardly_depends_on_the_rate_of_the_file(shared: Path) -> None:
    """16 kHz hold all there is in a recording of EMO-DB, whatever the rate of the file."""
    judge = Nisqa(shared / "weights" / "nisqa" / "nisqa.tar")
    path = shared / "data" / "emodb" / "wav" / "03a01Fa.flac"
    scores = [list(judge.hear(*read_wav(path, rate)).values()) for rate in (None, 22_050, 48_000)]
    assert np.ptp(scores, axis=0).max() < 0.1

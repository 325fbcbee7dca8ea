import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.judges.quality import Dnsmos
from emovc.common.judging import Goal
from emovc.common.synth import Prompt, speak
from emovc.common.wav import resample


@pytest.fixture(scope="module")
def judge() -> Dnsmos:
    return Dnsmos()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Speech at 16 kHz of 4.6 s, which fill one window when they are repeated."""
    (spoken,) = speak([Prompt("she will be here tomorrow morning at nine", "en-us+f3")])
    wav = resample(spoken.wav.astype(np.float32), spoken.sample_rate, 16_000)
    return np.tile(wav, 4)[: round(4.6 * 16_000)]


def test_noise_lowers_every_score(judge: Dnsmos, speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    clean, noisy = judge.hear(speech, 16_000), judge.hear(speech + 0.1 * noise, 16_000)
    for name in judge.metrics:
        assert clean[name] > noisy[name] + 0.2
    assert all(0.5 < score < 5 for score in clean.values())


@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_speechmos(judge: Dnsmos, speech: np.ndarray) -> None:
    dnsmos = pytest.importorskip("speechmos.dnsmos")
    wav = np.tile(speech, 2)[: round(5.6 * 16_000)].clip(-1, 1)  # two windows
    wanted = dnsmos.run(wav, 16_000)
    heard = judge.hear(wav, 16_000)
    for name, theirs in zip(judge.metrics, ("sig", "bak", "ovrl", "p808"), strict=True):
        assert heard[name] == pytest.approx(wanted[f"{theirs}_mos"], abs=2e-4)


def test_loud_samples_are_clipped_not_refused(judge: Dnsmos, speech: np.ndarray) -> None:
    loud = 50 * speech
    assert judge.hear(loud, 16_000) == judge.hear(loud.clip(-1, 1), 16_000)


def test_what_was_heard_is_the_verdict(judge: Dnsmos) -> None:
    heard = dict.fromkeys(judge.metrics, 3.0)
    assert judge.judge(heard, {}, Goal("sad", None, None, "a")).metrics == heard
    assert len(judge.about["weights"]) == 12


def test_no_speech_is_refused(judge: Dnsmos) -> None:
    with pytest.raises(UserError, match="silent"):
        judge.hear(np.zeros(16_000), 16_000)
    with pytest.raises(UserError, match="NaN"):
        judge.hear(np.full(16_000, np.nan), 16_000)

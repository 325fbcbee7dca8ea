"""EMO-DB's hand labels as voicing."""

from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.voiced_phones import Voicing, is_voiced, read_voicing, voicing_at

LABELS = """signal wochenAO
nfields 1
#
    0.100000   -1 d\t-sth
    0.150000   -1 !d
    0.200000   -1 aI\t+lar\t3
    0.240000   -1 \t-lar
    0.300000   -1 s\t+sth
    0.320000   -1 \t-sth
    0.400000   -1 ?
    0.450000   -1 .
"""


def test_phones_are_voiced_as_they_are_or_as_they_are_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.lablaut"
    path.write_text(LABELS, encoding="latin-1")
    voiced = [span.voiced for span in read_voicing(path)]
    # A devoiced stop; its release; a vowel, creaky and then not; an s that is voiced at first.
    assert voiced == [False, None, True, True, True, False, None, False]
    path.write_text("signal x\n#\n  0.1 -1 a\nnonsense\n")
    with pytest.raises(UserError, match="row 'nonsense' is no label"):
        read_voicing(path)


def test_symbols() -> None:
    assert all(is_voiced(s) for s in ("a", "aI", "E6", "@", "nn", "m", "_g", "z"))
    assert not any(is_voiced(s) for s in ("ss", "t", "!k", "_p", "tasp", "."))
    assert all(is_voiced(s) is None for s in ("!d", "gasp", "(", "(gef", "?", "hoe", "!"))


def test_nothing_is_known_about_a_change_or_before_the_first_label() -> None:
    spans = [Voicing(0.1, True), Voicing(0.2, True), Voicing(0.3, False), Voicing(0.4, None)]
    times = np.array([0.05, 0.105, 0.15, 0.2, 0.295, 0.305, 0.35, 0.395, 0.45])
    voiced, known = voicing_at(spans, times, 0.01)
    assert known.tolist() == [False, False, True, True, False, False, True, False, False]
    assert voiced[known].tolist() == [True, True, False]


def test_real_labels_agree_with_the_waveform(shared: Path) -> None:
    """Frames labelled voiced carry far more power below 500 Hz."""
    from emovc.common.wav import read_wav

    folder = shared / "data" / "emodb"
    audio = next((folder / "wav").glob("03a01Fa.*"))
    wav, rate = read_wav(audio)
    hop = rate // 100
    labels = next((folder / "lablaut").glob("03a01Fa*"))
    voiced, known = voicing_at(read_voicing(labels), (np.arange(len(wav) // hop) + 0.5) / 100)
    frames = wav[: len(wav) // hop * hop].reshape(-1, hop)
    low = np.square(np.abs(np.fft.rfft(frames, axis=1)))[:, 1:5].sum(1)
    assert known.mean() > 0.6
    assert np.median(low[known & voiced]) > 30 * np.median(low[known & ~voiced])

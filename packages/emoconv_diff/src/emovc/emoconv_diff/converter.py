"""EmoConv-Diff as a whole: waveforms in, log-mels out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from emovc.common.audio import LogMel, require_same_mel
from emovc.common.conversion import EmotionTarget, Needs, Speech, require_audible
from emovc.common.emotion_hearing import HASH_DIGITS, EmotionHearing, hash_in
from emovc.common.errors import UserError
from emovc.common.pretrained import load_checkpoint, load_folder
from emovc.common.speaker import SpeakerEncoder
from emovc.emoconv_diff.bank import EmotionBank
from emovc.emoconv_diff.diffusion import Schedule
from emovc.emoconv_diff.encoder import AverageVoiceEncoder
from emovc.emoconv_diff.losses import guided
from emovc.emoconv_diff.preconditioning import Scaling
from emovc.emoconv_diff.samplers import Conditions, Solver, one_of, trajectory
from emovc.emoconv_diff.unet import ScoreNet
from emovc.emoconv_diff.windows import window_starts, windowed_score


class EmoConvDiff(nn.Module):
    """Conversion towards a level of arousal, the emotion of references, or a category.

    Words, timing (the average voice) and speaker are the source's, the emotion is the target's.

    Source: Prabhu, Lay, Welker, Lehmann-Willenbrock and Gerkmann, "EmoConv-Diff", ICASSP 2024.

    Args:
        encoder: Mel to average voice, trained before.
        score: Score network.
        frontend: Waveform to log-mel, that of the encoder.
        speaker: d-vectors.
        emotion: What hears the emotion of references.
        schedule: Noise schedule.
        scaling: How the network's input and output are scaled; ``None`` lets it give the score as
            it is, as DiffVC does.
        steps: Evaluations of the score per mel.
        solver: Sampler, see :mod:`~emovc.emoconv_diff.samplers`.
        temperature: Above 1 the start is nearer to the average voice.
        guidance: Weight of the emotion against no emotion; 1 is the plain score. Others need a
            score network with ``null_condition`` and cost it twice per step.
        window_frames: Longer utterances are scored in windows of so many frames; ``None`` scores
            all utterances whole.
        overlap_frames: Frames that neighbouring windows share.

    Raises:
        UserError: The parts or numbers don't fit each other.
    """

    def __init__(
        self,
        encoder: AverageVoiceEncoder,
        score: ScoreNet,
        frontend: LogMel,
        speaker: SpeakerEncoder,
        emotion: EmotionHearing,
        schedule: Schedule | None = None,
        scaling: Scaling | None = None,
        steps: int = 30,
        solver: Solver = "ml",
        temperature: float = 1.0,
        guidance: float = 1.0,
        window_frames: int | None = 1024,
        overlap_frames: int = 128,
    ) -> None:
        super().__init__()
        require_same_mel(frontend, encoder.frontend.settings, "EmoConvDiff: encoder")
        sizes = score.speaker_dim, score.emotion_dim
        if sizes != (speaker.settings["dim"], emotion.dim):
            raise UserError(
                f"EmoConvDiff: score.speaker_dim and emotion_dim {sizes} must be"
                f" {speaker.settings['dim']} and {emotion.dim}, those of speaker and emotion"
            )
        if guidance != 1 and score.condition.null_emotion is None:
            raise UserError(
                f"guidance {guidance}: this score network has no null emotion; train with"
                " score.null_condition: true and model.drop_emotion: 0.1, or leave guidance at 1"
            )
        if window_frames is not None:
            window_starts(0, window_frames, overlap_frames)
        self.encoder = encoder
        self.score = score
        self.frontend = frontend
        self.speaker = speaker
        self.emotion = emotion
        self.bank = EmotionBank(emotion.dim)
        self.labels_key: Tensor
        self.register_buffer("labels_key", torch.zeros(HASH_DIGITS))
        self.schedule = schedule or Schedule()
        self.scaling = scaling
        self.steps = steps
        self.solver: Solver = solver
        self.temperature = temperature
        self.guidance = guidance
        self.window_frames = window_frames
        self.overlap_frames = overlap_frames

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "EmoConvDiff":
        """Load what ``emovc export`` wrote."""
        return load_folder(Path(folder), cls)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "EmoConvDiff":
        """Load a training checkpoint, without Lightning."""
        return load_checkpoint(Path(path), cls)

    @property
    def needs(self) -> Needs:
        """Any of arousal, references, category; :meth:`emotion_vector` refuses none."""
        return Needs()

    @property
    def teachers(self) -> set[str]:
        """Hashes of the networks behind its emotion vectors and its labels of arousal."""
        return {name for name in (self.emotion.weights, hash_in(self.labels_key)) if name}

    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        """Convert one utterance of any length; see ``Converter``.

        Of what a target holds the arousal counts, without it the references (their mean), without
        these the category.

        Raises:
            UserError: The target holds none of the three, or one the model has no references of.
        """
        return self.convert_batch([source], [target], [seed])[0]

    @torch.no_grad()
    def convert_batch(
        self, sources: Sequence[Speech], targets: Sequence[EmotionTarget], seeds: Sequence[int]
    ) -> list[Tensor]:
        """Log-mels (M, T) of utterances: what each would give alone, up to rounding."""
        given = self.conditions(sources, targets)
        drawn = self.draw(given, [torch.Generator().manual_seed(seed) for seed in seeds])
        ends = given.mask.sum(1).int().tolist()
        return [one[:, :n] for one, n in zip(drawn, ends, strict=True)]

    def conditions(self, sources: Sequence[Speech], targets: Sequence[EmotionTarget]) -> Conditions:
        """What the mels of sources and targets are drawn from, padded to the longest."""
        distinct = {id(target): target for target in targets}.values()  # each is heard once
        heard = {id(target): self.emotion_vector(target) for target in distinct}
        emotion = torch.stack([heard[id(target)] for target in targets])
        speaker = torch.stack([self.speaker(s.wav[None], None)[0] for s in sources])
        mels = [self.frontend(s.wav[None])[0].T for s in sources]
        lengths = torch.tensor([len(mel) for mel in mels], device=emotion.device)
        mel = pad_sequence(mels, batch_first=True).transpose(1, 2)
        mask = (torch.arange(mel.shape[2], device=mel.device) < lengths[:, None]).to(mel.dtype)
        return Conditions(self.encoder(mel, mask), mask, speaker, emotion)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value that a recording can have in a mel."""
        return self.frontend.log_floor, self.frontend.log_ceiling

    def draw(self, given: Conditions, generators: Sequence[torch.Generator]) -> Tensor:
        """Mels (B, M, T) of conditions, with the model's sampler.

        They are drawn in turn if one is longer than a window, each in windows of its own, and on a
        CPU, where one keeps all cores busy and a batch would only add padding.
        """
        in_turn = given.y.is_cpu or given.y.shape[2] > (self.window_frames or math.inf)
        if in_turn and len(generators) > 1:
            alone = [self.draw(one_of(given, i), [own]) for i, own in enumerate(generators)]
            mels = pad_sequence([mel[0].T for mel in alone], batch_first=True).transpose(1, 2)
            return nn.functional.pad(mels, (0, given.y.shape[2] - mels.shape[2]))
        for drawn in self.states(given, generators):
            mel = drawn
        return mel.clamp(*self.bounds)  # beyond, a vocoder would only overflow

    def states(self, given: Conditions, generators: Sequence[torch.Generator]) -> Iterator[Tensor]:
        """The states (B, M, T) from noise to mels."""
        score, how = self.score_function(given), (self.steps, self.solver, self.temperature)
        return trajectory(score, given.y, given.mask, self.schedule, *how, generators, self.bounds)

    def score_of(self, x: Tensor, t: Tensor, given: Conditions) -> Tensor:
        """Score (B, M, T) of noisy mels (B, M, T) at times (B,), without windows or guidance."""
        y, mask, speaker, emotion = given
        if self.scaling is None:
            return self.score(x, mask, y, t, speaker, emotion)
        seen, seen_y = self.scaling.seen(x, y, t, self.schedule)
        output = self.score(seen, mask, seen_y, t, speaker, emotion)
        return self.scaling.score(output, x, y, t, self.schedule) * mask[:, None]

    def score_function(self, given: Conditions) -> Callable[[Tensor, Tensor], Tensor]:
        """Score (B, M, T) as a function of x_t (B, M, T) and t (B,)."""
        speaker, emotion = given.speaker, given.emotion

        def part(x: Tensor, t: Tensor, frames: slice) -> Tensor:
            """Score of some frames."""
            mask, y = given.mask[:, frames], given.y[..., frames]
            plain = self.score_of(x, t, Conditions(y, mask, speaker, emotion))
            if self.guidance == 1:
                return plain
            null = self.score_of(x, t, Conditions(y, mask, speaker, None))
            return guided(plain, null, self.guidance)

        def whole(x: Tensor, t: Tensor) -> Tensor:
            """Score of all frames."""
            window = self.window_frames or x.shape[2]
            return windowed_score(part, x, t, window, self.overlap_frames)

        return whole

    def emotion_vector(self, target: EmotionTarget) -> Tensor:
        """Emotion vector (E,) that a target asks for.

        Raises:
            UserError: It asks for nothing, for what has no references, or a reference is silent.
        """
        if target.arousal is not None:
            return self.bank.at(target.arousal)
        if target.references:
            for reference in target.references:
                require_audible(reference)
            return torch.stack([self.emotion(r.wav) for r in target.references]).mean(0)
        if target.category is not None:
            return self.bank.of(target.category)
        raise UserError("this model needs --arousal 1 to 7, --reference FILE or --emotion NAME")

    @property
    def function_evaluations(self) -> int:
        """Evaluations of the score network per conversion."""
        return self.steps * (1 if self.guidance == 1 else 2)

    @property
    def code_hop(self) -> int:
        """Samples per frame."""
        return self.frontend.hop_length

    @torch.no_grad()
    def encode(self, speech: Speech) -> dict[str, Tensor]:
        """``average_voice`` per frame, ``emotion`` and ``timbre``; see ``CodeModel``."""
        mel = self.frontend(speech.wav[None])
        y, timbre = self.encoder(mel, mel.new_ones(1, mel.shape[2])), self.speaker(speech.wav[None])
        emotion = self.emotion(speech.wav)
        return {"average_voice": y[0].T, "emotion": emotion, "timbre": timbre[0]}

    @torch.no_grad()
    def decode_codes(self, codes: Mapping[str, Tensor]) -> Tensor:
        """Log-mel (M, T) of codes, which may be of several utterances; see ``CodeModel``."""
        y, timbre, emotion = (codes[n][None] for n in ("average_voice", "timbre", "emotion"))
        given = Conditions(y.transpose(1, 2), y.new_ones(1, y.shape[1]), timbre, emotion)
        return self.draw(given, [torch.Generator().manual_seed(0)])[0]

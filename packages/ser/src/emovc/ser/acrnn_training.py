"""How the ACRNN is trained on a prepared corpus.

Source: Chen, He, Yang and Zhang, IEEE Signal Processing Letters, 2018, and the authors' code: Adam
with a learning rate of 1e-5, 60 windows a batch, 5000 steps, the step of the best validation UAR.
"""

from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from emovc.common.batch import Batch
from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.ser.acrnn import ACRNNRecogniser
from emovc.ser.recall import confusion_matrix, recalls


class LitACRNN(L.LightningModule):
    """Train an ACRNN on the first and last window of each utterance.

    With ``data.crop`` of the window's length it is trained on random windows instead. Choose the
    step by ``val/uar``: Lightning's ``ModelCheckpoint`` keeps the best.

    Args:
        model: The recogniser; ``data.emotions`` must be its emotions.
        optimizer: Builds the optimiser from the parameters.
    """

    def __init__(
        self,
        model: ACRNNRecogniser,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-5),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.model = model
        self.optimizer = optimizer
        n = len(model.emotions)
        self.confusion = np.zeros((n, n), dtype=int)
        self.class_of: Tensor
        classes = [model.emotions.index(e) if e in model.emotions else -1 for e in EMOTIONS]
        self.register_buffer("class_of", torch.tensor(classes), persistent=False)

    def setup(self, stage: str) -> None:
        """Refuse data of other emotions, of which nothing could be learned.

        Raises:
            UserError: ``data.emotions`` are others than the model's.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if sorted(data.emotions or EMOTIONS) != sorted(self.model.emotions):
            raise UserError(
                "data.emotions: must be those of the model, which are"
                f" [{', '.join(self.model.emotions)}]; set it so"
            )

    def on_fit_start(self) -> None:
        """Take the normalisation from the training part; a run that goes on has it already."""
        if self.trainer.ckpt_path is None:
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.model.network.fit_normalisation(
                self.model.windows(batch.wav.to(self.device), batch.lengths.to(self.device))[0]
                for batch in data.evaluation_loader("train")
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch; every window weighs the same."""
        mel, owner = self.model.windows(batch.wav, batch.lengths)
        loss = F.cross_entropy(self.model.network(mel), self.class_of[batch.emotion][owner])
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(mel))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the decisions on whole utterances."""
        self._count(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """What validation does, on the test part."""
        self._count(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the unweighted average recall."""
        self._report("val")

    def on_test_epoch_end(self) -> None:
        """Log it of the test part."""
        self._report("test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimiser of what is learned."""
        return self.optimizer([p for p in self.parameters() if p.requires_grad])

    def _count(self, batch: Batch) -> None:
        """Add the decisions of a batch."""
        predicted = self.model(batch.wav, batch.lengths).argmax(1).cpu().numpy()
        labels = self.class_of[batch.emotion].cpu().numpy()
        self.confusion += confusion_matrix(labels, predicted, len(self.confusion))

    def _report(self, stage: str) -> None:
        """Log the recalls of all devices' decisions and begin to count anew."""
        counts = torch.from_numpy(self.confusion).to(self.device)
        total = self.trainer.strategy.reduce(counts, reduce_op="sum")
        found = recalls(total.cpu().numpy())
        self.confusion[:] = 0
        named = zip(self.model.emotions, found.tolist(), strict=True)
        values = {f"{stage}/recall_{emotion}": value for emotion, value in named}
        self.log_dict({f"{stage}/uar": float(np.nanmean(found)), **values})

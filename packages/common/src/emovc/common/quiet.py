"""What libraries say unasked: hints that don't apply, and reports to their makers."""

import logging
import os
import warnings

HINTS = (
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*bottleneck.*",
    ".*args parameter is intended to run from within Python.*",
    ".*module\\(s\\) in eval mode at the start of training.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*custom batch sampler .* for prediction.*",
    ".*mismatched key_padding_mask and attn_mask.*",
    "\\s*By default only one JsonargparseDeprecationWarning.*",
    "\\s*``(ArgumentParser.add_instantiator|instantiate_classes)`` was deprecated.*",
    "\\s*skip_none parameter was deprecated.*",
    ".*Checkpoint directory .* exists and is not empty.*",
)


def quieten() -> None:
    """Filter them; everything else still gets through."""
    os.environ.setdefault("WANDB_SILENT", "true")
    for message in HINTS:
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(f"{name}.utilities.rank_zero").addFilter(_worth_reading)


def keep_to_ourselves() -> None:
    """Before the first import of onnxruntime: let it send no reports on its use to its makers.

    Its official builds do by default; who wants that sets ORT_DISABLE_TELEMETRY=0.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _worth_reading(record: logging.LogRecord) -> bool:
    """Drop lines about loggers to buy and accelerators that aren't there."""
    text = record.getMessage()
    advertised = ("litlogger", "litmodels", "Tip:")
    absent = ("TPU available", "HPU available")
    return not text.startswith(absent) and not any(word in text for word in advertised)

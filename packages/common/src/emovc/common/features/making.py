"""From a description in YAML to a feature with its weights."""

import inspect
from typing import Any

from emovc.common.errors import UserError
from emovc.common.features.extractors import NetworkFeature, SignalFeature
from emovc.common.pretrained import build
from emovc.common.trust import class_of_file, class_of_user

Feature = NetworkFeature | SignalFeature


def make_feature(item: dict[str, Any], sample_rate: int, where: str, ours: bool = True) -> Feature:
    """Load or build the feature that a ``class_path`` and its ``init_args`` describe.

    Args:
        item: The description.
        sample_rate: Rate in Hz that it hears, unless the description says otherwise.
        where: File it stands in, for messages.
        ours: Take only what a file that came with weights may name; a list that users write
            themselves may name any class.

    Raises:
        UserError: There is no such class or argument, or it can't be loaded.
    """
    path = str(item["class_path"])
    kind = class_of_file(path, where) if ours else class_of_user(path, where)
    call = getattr(kind, "from_pretrained", kind)
    parameters = inspect.signature(call).parameters
    arguments = build(item.get("init_args") or {}, where, ours)
    if "sample_rate" in parameters:
        arguments.setdefault("sample_rate", sample_rate)
    unknown = sorted(arguments.keys() - parameters.keys())
    if unknown:
        raise UserError(
            f"{where}: {path} has no setting {unknown[0]!r}; it has {', '.join(parameters)}"
        )
    needed = [n for n, p in parameters.items() if p.default is p.empty and n not in arguments]
    if needed:
        raise UserError(f"{where}: {path} needs {needed[0]}; add it to its init_args")
    feature = call(**arguments)
    hears = feature.settings.get("sample_rate", sample_rate)
    if hears != sample_rate:
        raise UserError(
            f"{where}: {path} hears {hears} Hz, but the audio is read at {sample_rate} Hz; set its"
            " rate, or --sample_rate"
        )
    return feature

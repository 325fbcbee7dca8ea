"""Public models from Hugging Face and ModelScope: announced, cached, and refused when offline."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from emovc.common.errors import UserError

Hub = Literal["huggingface", "modelscope"]
SITES: dict[Hub, str] = {
    "huggingface": "https://huggingface.co",
    "modelscope": "https://www.modelscope.cn/models",
}

log = logging.getLogger(__name__)


def fetch_model(
    hub: Hub, name: str, needed: Sequence[str], optional: Sequence[str], offline: bool, extra: str
) -> Path:
    """The local folder of a public model; what isn't in the hub's cache is downloaded.

    Args:
        hub: Where the model is.
        name: Its name there, ``owner/model``.
        needed: Files without which it is of no use.
        optional: Further files to take if they are there.
        offline: Download nothing. The environment's ``EMOVC_OFFLINE=1`` and ``HF_HUB_OFFLINE=1``
            say the same.
        extra: Extra of ``emovc-common`` that installs the hub's client.

    Raises:
        UserError: The files aren't here and can't, or mustn't, be downloaded.
    """
    files = [*needed, *optional]
    by_hand = f"put {', '.join(files)} from {SITES[hub]}/{name} in a folder and give its path"
    try:
        folder = _snapshot(hub, name, files, cached_only=True)
        if all((folder / file).exists() for file in needed):
            return folder
    except ImportError:
        raise UserError(
            f"{name}: downloads need the extra emovc-common[{extra}]; install it, or {by_hand}"
        ) from None
    except Exception as error:  # the clients raise dozens of types for "not here yet"
        log.debug("%s is not in the cache: %s", name, error)
    if offline or _offline_by_environment():
        raise UserError(f"{name}: not on this machine and downloads are off; {by_hand}")
    try:
        megabytes = _bytes(hub, name, files) / 1e6
        log.warning("downloading %s (%.0f MB) from %s/%s", name, megabytes, SITES[hub], name)
        return _snapshot(hub, name, files, cached_only=False)
    except Exception as error:  # and as many for what goes wrong in a network
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{name}: download failed ({reason}); try again, or {by_hand}") from error


def _offline_by_environment() -> bool:
    """Whether the environment forbids downloads."""
    values = (os.environ.get(name, "") for name in ("EMOVC_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "on", "true", "yes") for value in values)


def _snapshot(hub: Hub, name: str, files: list[str], cached_only: bool) -> Path:
    """The client's local copy of a model's files."""
    if hub == "huggingface":
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, local_files_only=cached_only, allow_patterns=files))
    from modelscope.hub.snapshot_download import snapshot_download as download

    return Path(
        download(name, revision="master", local_files_only=cached_only, allow_patterns=files)
    )


def _bytes(hub: Hub, name: str, files: list[str]) -> int:
    """Size of what would be downloaded."""
    if hub == "huggingface":
        from huggingface_hub import HfApi

        siblings = HfApi().model_info(name, files_metadata=True).siblings or []
        sizes = {file.rfilename: file.size for file in siblings}
    else:
        from modelscope.hub.api import HubApi

        listed = HubApi().get_model_files(name, revision="master")
        sizes = {file["Path"]: file["Size"] for file in listed}
    return sum(sizes.get(file) or 0 for file in files)

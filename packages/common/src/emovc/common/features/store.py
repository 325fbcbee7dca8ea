"""The feature store: shards of numbers with an index, appended to and never rewritten.

``<root>/<name>-<key>/`` holds ``meta.json`` (the extractor's arguments, hashed to the key) and
shards: ``<shard>.npy`` with the values of many utterances one after the other, and
``<shard>.json`` saying where each begins. Values are filed under the SHA-256 of the audio file, so
a file that changes is never served an old value, and renamed files keep theirs. A shard counts once
its JSON is there, which is renamed into place last; so a killed extraction loses its unfinished
shard only.
"""

import io
import shutil
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np

from emovc.common.checked_values import Between, checked, read_checked
from emovc.common.errors import UserError
from emovc.common.files import atomic_path, short_hash, write_json
from emovc.common.manifest import Utterance

AGAIN = "delete the folder and extract the feature again"
Index = dict[str, tuple[Annotated[int, Between(0)], Annotated[int, Between(1)]]]


class Meta(TypedDict):
    """``meta.json``: the feature's name, and the extractor's arguments."""

    name: str
    settings: dict[str, Any]


class Frames(TypedDict):
    """Those of the arguments that say which frames a feature has."""

    sample_rate: NotRequired[Annotated[int, Between(1)]]
    hop_length: NotRequired[Annotated[int, Between(1)]]


def store_folder(root: Path, name: str, settings: dict[str, Any]) -> Path:
    """Folder of a feature made with ``settings``."""
    return root / f"{name}-{short_hash(settings)}"


class ShardWriter:
    """Collects the values of one feature and writes them shard by shard.

    Args:
        folder: The feature's folder.
        name: The feature's name.
        settings: The extractor's arguments.
    """

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._values: list[np.ndarray] = []
        self._index: dict[str, list[int]] = {}
        self._rows = 0
        if not (folder / "meta.json").exists():
            write_json(folder / "meta.json", {"name": name, "settings": settings})

    def add(self, sha256: str, value: np.ndarray) -> None:
        """Add one file's value: (T,) or (T, D) per frame, or (1, D) for the utterance."""
        rows = value.reshape(len(value), -1).astype(np.float32)
        self._index[sha256] = [self._rows, len(rows)]
        self._values.append(rows)
        self._rows += len(rows)

    def flush(self) -> None:
        """Write what was added since the last time as one shard."""
        if not self._values:
            return
        stem = uuid.uuid4().hex
        data = io.BytesIO()  # np.save to a file hides that the disk is full
        np.save(data, np.concatenate(self._values))
        with atomic_path(self.folder / f"{stem}.npy") as temporary:
            temporary.write_bytes(data.getbuffer())
        write_json(self.folder / f"{stem}.json", self._index)
        self._values, self._index, self._rows = [], {}, 0


class FeatureStore:
    """Read access to one feature, memory-mapped.

    Args:
        folder: The feature's folder.

    Raises:
        UserError: The folder holds no feature, or a file of it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        meta: Meta = read_checked(folder / "meta.json", Meta, AGAIN)
        self.name = meta["name"]
        self.settings = meta["settings"]
        checked(self.settings, Frames, folder / "meta.json", AGAIN)
        self._index: dict[str, tuple[str, int, int]] = {}
        for path in sorted(folder.glob("*.json")):
            if path.name != "meta.json" and not path.name.startswith("."):
                rows = read_checked(path, Index, AGAIN)
                self._index.update({k: (path.stem, first, n) for k, (first, n) in rows.items()})
        self._shards: dict[str, np.ndarray] = {}

    def __contains__(self, sha256: str) -> bool:
        """Whether the value of the file of this hash is here."""
        return sha256 in self._index

    def require(self, utterances: Sequence[Utterance], remedy: str) -> None:
        """Refuse a store that lacks some utterances.

        Args:
            utterances: What must be here.
            remedy: What to do otherwise, for the message.

        Raises:
            UserError: How many are absent, and the first of them.
        """
        absent = [u for u in utterances if u.sha256 not in self]
        if absent:
            raise UserError(
                f"{self.folder}: lacks {len(absent)} of {len(utterances)} utterances"
                f" ({absent[0].id} ...); {remedy}"
            )

    def get(
        self, sha256: str, start: int = 0, rows: int | None = None, finite: bool = True
    ) -> np.ndarray:
        """Value of a file, (T, D), or at most ``rows`` of its frames from ``start`` on.

        Args:
            sha256: Hash of the file.
            start: First frame.
            rows: Most frames.
            finite: NaN and infinity are errors; without it the caller leaves such files out.

        Raises:
            UserError: The shard is damaged, has fewer rows than its index says, or holds NaN.
        """
        shard, first, count = self._index[sha256]
        if shard not in self._shards:
            self._shards[shard] = self._open(shard)
        values = self._shards[shard]
        if first + count > len(values):
            raise UserError(
                f"{self.folder / shard}.json: {sha256} has rows {first} to {first + count} of a"
                f" shard of {len(values)}; {AGAIN}"
            )
        stop = count if rows is None else min(start + rows, count)
        found = values[first + min(start, stop) : first + stop]
        if finite and not np.isfinite(found).all():
            raise UserError(
                f"{self.folder / shard}.npy: holds NaN or infinity for {sha256}; {AGAIN}"
            )
        return found

    def _open(self, shard: str) -> np.ndarray:
        """Map a shard, (N, D), of as many columns as the others."""
        path = self.folder / f"{shard}.npy"
        try:
            values = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            raise UserError(f"{path}: is absent, or not a whole array; {AGAIN}") from None
        width = next((other.shape[1] for other in self._shards.values()), None)
        plain = isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind == "f"
        if not plain or width not in (None, values.shape[1]):
            wanted = "a table of numbers" if width is None else f"{width} numbers per row"
            raise UserError(f"{path}: must hold {wanted}; {AGAIN}")
        return values

    def any(self) -> np.ndarray:
        """Value of one of the files, to see its shape.

        Raises:
            UserError: The store is empty.
        """
        if not self._index:
            raise UserError(f"{self.folder}: is empty; extract the feature again")
        return self.get(next(iter(self._index)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory maps out: a loader process opens its own."""
        return {**self.__dict__, "_shards": {}}


def missing(root: Path, name: str, settings: dict[str, Any], hashes: Collection[str]) -> set[str]:
    """Those of the files' ``hashes`` whose feature isn't in the store yet."""
    folder = store_folder(root, name, settings)
    if not (folder / "meta.json").exists():
        return set(hashes)
    store = FeatureStore(folder)
    return {sha256 for sha256 in hashes if sha256 not in store}


def open_store(root: Path, name: str) -> FeatureStore:
    """Open a feature by its name, or by ``name-key`` where it was extracted in several ways.

    Raises:
        UserError: There is no such feature, or more than one.
    """
    folders = sorted(path.parent for path in root.glob(f"{name}*/meta.json"))
    found = [f for f in folders if f.name == name or f.name.rpartition("-")[0] == name]
    if not found:
        raise UserError(f"{root}: holds no feature {name!r}; extract it with emovc prepare")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(
            f"{root}: feature {name!r} was extracted in several ways; name one: {names}"
        )
    return FeatureStore(found[0])


def gather_features(roots: Sequence[Path], out: Path) -> list[str]:
    """Copy the shards of the features that all of ``roots`` hold, made alike, to one store.

    Shards never change, so those that are there already are not copied again.

    Args:
        roots: Roots of stores.
        out: Root of the store to write; it may be one of them.

    Returns:
        Names of those features, with the keys of their settings.
    """
    names = [{path.parent.name for path in root.glob("*/meta.json")} for root in roots]
    common = sorted(set.intersection(*names))
    for name in common:
        for folder in (root / name for root in roots if root.resolve() != out.resolve()):
            # The values before their index, which makes a shard count.
            for path in sorted(folder.iterdir(), key=lambda p: p.suffix != ".npy"):
                place = out / name / path.name
                if path.suffix in (".npy", ".json") and path.name[0] != "." and not place.exists():
                    with atomic_path(place) as temporary:
                        shutil.copyfile(path, temporary)
    return common

"""What all corpus readers share: finding audio, texts in uncertain encodings, building rows."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from emovc.common.errors import UserError
from emovc.common.files import sha256_of
from emovc.common.manifest import Utterance
from emovc.common.signals import in_threads
from emovc.common.wav import ENDINGS, wav_info

LFS_POINTER = b"version https://git-lfs"


class Listing(NamedTuple):
    """A corpus as its reader found it.

    Attributes:
        utterances: Usable recordings in the natural order of their paths.
        skipped: What was left out, or kept with something missing: one line each, file and reason.
        licence: Terms of use, in a few words.
        cite: What to cite.
    """

    utterances: list[Utterance]
    skipped: list[str]
    licence: str
    cite: str


class Text(NamedTuple):
    """A text file's content and the encoding it was read with."""

    content: str
    encoding: str


def natural_key(path: Path) -> tuple[tuple[str | int, ...], ...]:
    """Sort key of a path under which ``x_2`` stands before ``x_10``."""
    return tuple(
        tuple(int(t) if i % 2 else t for i, t in enumerate(re.split(r"([0-9]+)", part)))
        for part in path.parts
    )


def find_files(root: Path, *endings: str) -> list[Path]:
    """Files below ``root`` with one of the ``endings`` (any case), in natural order.

    Links to folders are followed. Hidden files are left out: archives made on a Mac hold a
    ``._name`` beside each ``name``.
    """
    found: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith((".", "__MACOSX"))]
        found += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: natural_key(path.relative_to(root)))


def find_audio(root: Path, *more: str) -> list[Path]:
    """Wav and flac files below ``root``, and those of ``more`` endings, in natural order."""
    return find_files(root, *ENDINGS, *more)


def read_text(path: Path, legacy: tuple[str, ...] = ("cp1252",)) -> Text:
    """Read a text file whose encoding is uncertain.

    A byte-order mark decides; else many zero bytes mean UTF-16, of the byte order that puts them
    where ASCII characters have theirs; else it is UTF-8 if it can be, else the first of ``legacy``
    that it can be, else the last of them with replacement characters.

    Args:
        path: Text file.
        legacy: Encodings to try for a file that is neither UTF-16 nor UTF-8.

    Raises:
        UserError: The file can't be opened.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); copy it again") from None
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return Text(data.decode(encoding, "replace"), encoding)
    low, high = data[0::2].count(0), data[1::2].count(0)
    if max(low, high) > len(data) / 20:
        encoding = "utf-16-le" if high > low else "utf-16-be"
        return Text(data.decode(encoding, "replace"), encoding)
    for encoding in ("utf-8", *legacy):
        with suppress(UnicodeDecodeError):
            return Text(data.decode(encoding), encoding)
    return Text(data.decode(legacy[-1], "replace"), legacy[-1])


def lines_of(content: str) -> list[str]:
    """Lines of a text, parted at line feeds only.

    ``str.splitlines`` parts at U+2028, U+0085 and others too, which stand inside sentences.
    """
    return [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")]


def table_lines(content: str) -> io.StringIO:
    """A table for the reader of the module ``csv``, which joins quoted lines by itself."""
    return io.StringIO(content, newline="")


def one_line(text: str) -> str:
    """A text with single spaces, also where it had line breaks."""
    return " ".join(text.split())


def from_own_folder(audio: Sequence[Path], name: str, found: "Collection") -> list[Path]:
    """The recordings in the folder a corpus keeps its speech in.

    Releases and users put other signals beside it under the same file names: laryngograms,
    denoised copies.

    Args:
        audio: All audio files of the corpus.
        name: Name of its folder, in any case.
        found: Where what is left out is noted.

    Raises:
        UserError: The folder isn't there, and two files of one name differ in their folder.
    """
    inside = [p for p in audio if name in (part.lower() for part in found.parents_of(p))]
    if inside:
        for path in sorted(set(audio) - set(inside)):
            found.skip(path, f"lies beside the folder {name}, which holds the recordings")
        return inside
    by_name: dict[str, Path] = {}
    for path in audio:
        first = by_name.setdefault(path.stem.lower(), path)
        if first.parent != path.parent:
            raise UserError(
                f"{path}: has the same name as {first}, and neither lies in a folder {name};"
                f" move the corpus' own recordings to {name}"
            )
    return list(audio)


def words_of(text: str) -> str | None:
    """The bare words of a text: equal for equal words, whatever the case and punctuation."""
    bare = re.sub(r"[^\w\s']", " ", text.casefold().replace("\u2019", "'"))
    return " ".join(bare.split()) or None


class Collection:
    """Gathers the recordings of a corpus, and what is left out with the reason.

    Args:
        corpus: Name of the corpus; prefix of ids and speakers.
        root: Folder of the corpus; skipped files are named relative to it.
    """

    def __init__(self, corpus: str, root: Path) -> None:
        self.corpus = corpus
        self.root = root
        self.skipped: list[str] = []
        self._rows: dict[str, Utterance] = {}

    def skip(self, path: Path, reason: str) -> None:
        """Note that a file is left out, or what it lacks."""
        self.skipped.append(f"{self._relative(path)}: {reason}")

    def parents_of(self, path: Path) -> tuple[str, ...]:
        """Names of the folders between the corpus' root and a file, the root's own included."""
        inside = path.is_relative_to(self.root)
        parts = path.relative_to(self.root).parts[:-1] if inside else path.parts[:-1]
        return (self.root.name, *parts)

    def _relative(self, path: Path) -> str:
        inside = path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if inside else str(path)

    def row(self, path: Path, name: str, speaker: str) -> Utterance:
        """A row that says only what all rows say; :meth:`listing` measures the audio.

        Args:
            path: Audio file.
            name: Name, unique in the corpus; the id is ``<corpus>/<name>``.
            speaker: Name in the corpus; the manifest's is ``<corpus>_<speaker>``.
        """
        return Utterance(
            id=f"{self.corpus}/{name}",
            path=path,
            sha256="",
            sample_rate=0,
            num_samples=0,
            speaker=f"{self.corpus}_{speaker}",
            corpus=self.corpus,
        )

    def add(self, utterance: Utterance) -> None:
        """Take a recording; a second one of the same name is skipped."""
        first = self._rows.setdefault(utterance.id, utterance)
        if first is not utterance:
            name = self._relative(first.path)
            self.skip(utterance.path, f"has the same name as {name}, which is used")

    def listing(self, licence: str, cite: str) -> Listing:
        """Read headers and hash files, in threads; unreadable audio is skipped.

        Args:
            licence: Terms of use.
            cite: What to cite.
        """
        return Listing(list(self._measured()), self.skipped, licence, cite)

    def _measured(self) -> Iterator[Utterance]:
        rows = list(self._rows.values())
        results = in_threads(_measure, rows, None, f"reading {self.corpus}")
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, str):
                self.skip(row.path, result)
            else:
                yield result


def _measure(row: Utterance) -> Utterance | str:
    """The row with what its audio file says, or why that can't be used."""
    path = row.path
    try:
        info = wav_info(path)
        if info.num_samples == 0:
            return "holds no samples"
        return replace(
            row,
            sha256=sha256_of(path),
            sample_rate=info.sample_rate,
            num_samples=info.num_samples,
        )
    except UserError as error:
        if _is_lfs_pointer(path):
            return "is a Git LFS pointer, not audio; fetch it with git lfs pull"
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"can't be read ({error.strerror}); copy it again"


def _is_lfs_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False

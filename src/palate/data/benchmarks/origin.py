"""Where a public data set is read from: the hub, or a copy of it on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from palate.data.benchmarks.record_files import reader_of, rows_of_file
from palate.data.benchmarks.rows import Row
from palate.data.table import file_fault
from palate.errors import DataError

Records = Iterable[dict[str, Any]]

#: Where the hub keeps its own Parquet copy of a data set that is a script.
CONVERTED = "refs/convert/parquet"
#: What `datasets` leaves in a folder that it saved.
SAVED = ("dataset_dict.json", "state.json")


@dataclass(frozen=True)
class Origin:
    """A data set of the hub: its id, the config (None: it has one only) and its parts.

    The official layout is also that of a copy: a file belongs to a config or a part if its path
    names it as a word, such as `utterances.jsonl` or `data/train-00000-of-00002.parquet`.
    """

    hub_id: str
    config: str | None
    parts: tuple[str, ...]

    def read(self, part: str, source: str | Path | None = None) -> list[Row]:
        """The rows of a part, of the hub or of a copy.

        A copy is a Parquet or JSON Lines file, a folder of such, or one that `datasets` saved.
        Raises `DataError`.
        """
        if source is None:
            return _rows(self.hub_id, _from_hub(self, part))
        path = Path(source)
        for folder in (path, path / (self.config or ".")):
            if any((folder / name).is_file() for name in SAVED):
                return _rows(str(folder), _from_disk(self, folder, part))
        return [row for file in _files(self, path, part) for row in rows_of_file(file)]


def _from_hub(origin: Origin, part: str) -> Records:
    library = _library(f"to read {origin.hub_id} from the hub")
    try:
        rows: Records = _load_from_hub(library, origin, part)
    except Exception as error:  # the library and the network raise what they like
        raise DataError(
            f"the data set {origin.hub_id} cannot be read from the hub "
            f"({type(error).__name__}: {str(error)[:200]}): download it where there is a "
            "network, and give the folder as source"
        ) from error
    return rows


def _load_from_hub(library: ModuleType, origin: Origin, part: str) -> Records:
    rows: Records
    try:
        rows = library.load_dataset(origin.hub_id, origin.config, split=part)
    except RuntimeError:  # a data set that is a script, which is never run
        files = {part: f"{origin.config or 'default'}/{part}/*.parquet"}
        rows = library.load_dataset(origin.hub_id, revision=CONVERTED, data_files=files, split=part)
    return rows


def _from_disk(origin: Origin, folder: Path, part: str) -> Records:
    library = _library(f"to read {folder}")
    try:
        saved = library.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise file_fault(folder, f"cannot be read ({error}): is it complete?") from error
    parts = saved if isinstance(saved, library.DatasetDict) else {origin.parts[0]: saved}
    missing = [name for name in origin.parts if name not in parts]
    if missing:
        raise file_fault(
            folder, f"holds no part {missing[0]!r}; expected {', '.join(origin.parts)}"
        )
    rows: Records = parts[part]
    return rows


def _files(origin: Origin, path: Path, part: str) -> list[Path]:
    """The files of a part, in the order of their names."""
    several = len(origin.parts) > 1
    if path.is_file() and not several:
        return [path]
    if not path.is_dir():
        found = "is one file" if path.is_file() else "no such file or folder"
        wanted = "a folder" if several else "a file or folder"
        raise file_fault(path, f"{found}; expected {wanted} with {', '.join(origin.parts)}")
    files = sorted(file for file in path.rglob("*") if file.is_file() and reader_of(file))
    if origin.config is not None and (named := _naming(origin.config, files, path)):
        files = named
    elif origin.config is not None and not several and len(files) > 1:
        files = []  # of several configs, and none says that it is this one's
    if several:
        files = _naming(part, files, path)
    if not files:
        wanted = " ".join(filter(None, (origin.config, part)))
        message = f"no Parquet or JSON Lines file whose name says {wanted!r}; copy {origin.hub_id} "
        raise file_fault(path, message + "as it is on the hub")
    return files


def _naming(word: str, files: list[Path], folder: Path) -> list[Path]:
    """The files whose path inside of the folder has the word in it."""
    return [
        file
        for file in files
        if word in re.split(r"[^a-z0-9_]+", file.relative_to(folder).as_posix().lower())
    ]


def _library(purpose: str) -> ModuleType:
    try:
        return import_module("datasets")
    except ImportError as error:
        raise DataError(
            f"{purpose}, the library datasets is needed: pip install 'palate[datasets]', or give "
            "a copy in Parquet or JSON Lines as source"
        ) from error


def _rows(name: str, dataset: Records) -> list[Row]:
    return [Row(name, number, values) for number, values in enumerate(dataset, 1)]

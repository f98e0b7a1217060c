"""From files, tables and rows of any kind to named columns, with their row numbers."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from palate.data.comparisons import IntArray, PreferenceData
from palate.errors import DataError, Problem

if TYPE_CHECKING:
    import pyarrow as pa

#: So many rows in one that says nothing (a text against itself) are an error: a broken export.
TOLERATED_ONE_IN = 10_000
#: Longest field read, in bytes of UTF-8. A longer one is no answer of a language model.
MAX_FIELD_BYTES = 500_000


@dataclass(frozen=True)
class Column:
    """A column by its distinct raw values: row i holds values[codes[i]]; a null is None."""

    values: list[Any]
    codes: IntArray


@dataclass(frozen=True)
class Table:
    """Named columns of a source. rows: the number of each row as its file counts, from 1."""

    name: str
    columns: dict[str, Column]
    rows: IntArray
    problems: list[Problem]


def load(source: Any, *, user: str | None = None) -> PreferenceData:
    """Read and validate comparisons; see `PreferenceData.load`."""
    from palate.data.validation import validate

    data, problems = validate(read_table(source), user=user)
    if not problems and data is not None:
        return data
    few = len(problems) * TOLERATED_ONE_IN <= len(problems) + len(data or ())
    if data is None or not few or not all(problem.uninformative for problem in problems):
        raise DataError(problems)
    return replace(data, left_out=tuple(problems))


def inspect(source: str | Path) -> tuple[PreferenceData | None, list[Problem]]:
    """The rows without fault (None if there are none), and every problem found."""
    from palate.data.validation import validate

    try:
        return validate(read_table(source))
    except DataError as error:
        return None, list(error.problems)


def read_table(source: Any) -> Table:
    """The columns of a file, an Arrow table, a `datasets.Dataset` or a list of rows."""
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, list | tuple):
        return _table_of_records("rows", source, np.arange(1, len(source) + 1))
    if hasattr(source, "with_format") and hasattr(source, "features"):
        return _table_of_arrow("dataset", source.with_format("arrow")[:])
    if hasattr(source, "column_names") and hasattr(source, "combine_chunks"):
        return _table_of_arrow("table", source)
    raise DataError(
        f"cannot read comparisons from a {type(source).__name__}: give a path, an Arrow table, "
        "a datasets.Dataset or a list of dicts"
    )


def _read_file(path: Path) -> Table:
    readers: dict[str, Callable[[Path], Table]] = {
        ".parquet": _read_parquet,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".csv": _read_csv,
    }
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = (
        suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    )
    if kind not in readers:
        raise _fault(path, f"unknown kind of file; expected one of {', '.join(readers)} (or .gz)")
    if not path.is_file():
        raise _fault(path, "no such file" if not path.exists() else "not a file")
    try:
        return readers[kind](path)
    except (OSError, EOFError) as error:
        raise _fault(path, f"cannot be read ({error}): is it complete?") from error


def _fault(path: Path, message: str, row: int | None = None) -> DataError:
    return DataError([Problem(str(path), row, None, message)])


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        strings = [f.name for f in schema if pa.types.is_string(f.type) or _is_large(f.type)]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            return _table_of_arrow(str(path), file.read())
    except pa.ArrowInvalid as error:
        raise _fault(path, f"not a whole Parquet file ({error}): write it again") from error


def _table_of_arrow(name: str, table: pa.Table) -> Table:
    columns = {column: _column_of_arrow(table[column]) for column in table.column_names}
    return Table(name, columns, np.arange(1, table.num_rows + 1), [])


def _column_of_arrow(column: pa.ChunkedArray) -> Column:
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        return encode_values(column.to_pylist())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode(null_encoding="encode")
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else array.type.empty_array()
    try:
        values = array.dictionary.to_pylist()
    except UnicodeDecodeError:
        values = [_decoded(value) for value in array.dictionary.cast(_binary(array)).to_pylist()]
    codes = array.indices.fill_null(len(values)).to_numpy().astype(np.int64)
    return Column([*values, None], codes)


def _is_large(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_large_string(kind))


def _binary(array: pa.DictionaryArray) -> pa.DataType:
    import pyarrow as pa

    return pa.large_binary() if pa.types.is_large_string(array.dictionary.type) else pa.binary()


def _decoded(value: bytes | None) -> str | bytes | None:
    """Text, or the bytes themselves where they are none, for the validation to name."""
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not; an encoding other than UTF-8 is an error with its line."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
        try:
            yield stream
        except UnicodeDecodeError as error:
            advice = "not UTF-8 text; save the file as UTF-8"
            raise _fault(path, f"{advice} (byte {error.object[error.start]:#04x})") from error


def _read_jsonl(path: Path) -> Table:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    problems: list[Problem] = []
    with _open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            record, fault = _parse_line(line)
            if fault is not None:
                problems.append(Problem(str(path), number, None, fault))
                continue
            records.append(record)
            rows.append(number)
    table = _table_of_records(str(path), records, np.array(rows, dtype=np.int64))
    table.problems.extend(problems)
    return table


def _parse_line(line: str) -> tuple[dict[str, Any], str | None]:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return {}, f"not JSON ({error}); expected one object a line"
    if not isinstance(record, dict):
        return {}, f"expected an object with fields, found {type(record).__name__}"
    return record, None


def _read_csv(path: Path) -> Table:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    problems: list[Problem] = []
    limit = csv.field_size_limit(20 * MAX_FIELD_BYTES)  # longer than allowed, so that we name it
    try:
        with _open_text(path) as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            for number, fields in enumerate(reader, start=1):
                if not fields:
                    continue
                if len(fields) != len(header):
                    fault = f"has {len(fields)} fields, the header {len(header)}; check the quotes"
                    problems.append(Problem(str(path), number, None, fault))
                    continue
                records.append(dict(zip(header, fields, strict=True)))
                rows.append(number)
    except csv.Error as error:
        raise _fault(path, f"not CSV: {error}", row=len(rows) + 1) from error
    finally:
        csv.field_size_limit(limit)
    table = _table_of_records(str(path), records, np.array(rows, dtype=np.int64), header)
    table.problems.extend(problems)
    return table


def _table_of_records(
    name: str, records: Sequence[Any], rows: IntArray, header: Sequence[str] = ()
) -> Table:
    problems = [
        Problem(name, int(row), None, f"expected a dict, found {type(record).__name__}")
        for row, record in zip(rows, records, strict=True)
        if not isinstance(record, dict)
    ]
    if problems:
        raise DataError(problems)
    names = dict.fromkeys([*header, *(key for record in records for key in record)])
    columns = {key: encode_values([record.get(key) for record in records]) for key in names}
    return Table(name, columns, rows, [])


def encode_values(raw: Sequence[Any]) -> Column:
    """Give every distinct value a number; nested values are compared by their content."""
    numbers: dict[Any, int] = {}
    values: list[Any] = []
    codes = np.empty(len(raw), dtype=np.int64)
    for i, value in enumerate(raw):
        key = (type(value), value) if isinstance(value, str | int | float) else _nested_key(value)
        code = numbers.setdefault(key, len(values))
        if code == len(values):
            values.append(value)
        codes[i] = code
    return Column(values, codes)


def _nested_key(value: Any) -> Any:
    return None if value is None else json.dumps(value, default=repr, ensure_ascii=False)

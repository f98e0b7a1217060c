"""From files, tables and rows of any kind to named columns, with their row numbers."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import json
import zlib
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

#: The columns that are read. Of the users' names the first that is there is taken.
TEXT_COLUMNS = ("prompt", "chosen", "rejected")
USER_COLUMNS = ("user_id", "user")
OPTIONAL_COLUMNS = ("group", "weight", "timestamp", "tie")
#: So many rows in one that says nothing (a text against itself) are an error: a broken export.
TOLERATED_ONE_IN = 10_000
#: Longest field read, in bytes of UTF-8. A longer one is no answer of a language model.
MAX_FIELD_BYTES = 500_000
#: How files begin that are no UTF-8 text, and what to say of them.
UTF_16 = "UTF-16 or UTF-32, not UTF-8 text; save the file as UTF-8"
NO_TEXTS = {
    b"PAR1": "a Parquet file; give it a name that ends with .parquet",
    b"\x1f\x8b": "a gzipped file; give it a name that ends with .gz",
    codecs.BOM_UTF16_LE: UTF_16,
    codecs.BOM_UTF16_BE: UTF_16,
}


@dataclass(frozen=True)
class Column:
    """A column by its distinct raw values: row i holds values[codes[i]]; a null is None."""

    values: list[Any]
    codes: IntArray


@dataclass(frozen=True)
class Table:
    """The columns of a source that are read, and the names of the others.

    rows: the number of each row as its file counts, from 1. problems: of rows that are not here.
    """

    name: str
    columns: dict[str, Column]
    other_columns: tuple[str, ...]
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
        return _table_of_records("rows", source, range(1, len(source) + 1))
    if all(hasattr(source, name) for name in ("with_format", "features", "num_rows")):
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
    try:
        if not path.is_file():
            raise _fault(path, "not a file" if path.exists() else "no such file")
        return readers[kind](path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise _fault(path, f"cannot be read ({reason}): is it complete?") from error


def _fault(path: Path, message: str, row: int | None = None) -> DataError:
    return DataError([Problem(str(path), row, None, message)])


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        strings = [field.name for field in schema if _is_string(field.type)]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            return _table_of_arrow(str(path), file.read(read_columns(schema.names)), schema.names)
    except (pa.ArrowException, ValueError) as error:
        raise _fault(path, f"not a whole Parquet file ({error}): write it again") from error


def read_columns(names: Sequence[str]) -> list[str]:
    """Which of a source's columns are read."""
    user = [name for name in USER_COLUMNS if name in names][:1]
    return user + [name for name in (*TEXT_COLUMNS, *OPTIONAL_COLUMNS) if name in names]


def _refuse_twins(name: str, names: Sequence[str]) -> None:
    """Raise `DataError` where a column that is read stands twice."""
    twins = [column for column in read_columns(names) if list(names).count(column) > 1]
    if twins:
        raise DataError([Problem(name, None, twin, "column stands twice") for twin in twins])


def _table_of_arrow(name: str, table: pa.Table, names: Sequence[str] | None = None) -> Table:
    """The columns of an Arrow table; `names` are the source's, if the table has only some."""
    import pyarrow as pa

    names = table.column_names if names is None else names
    _refuse_twins(name, names)
    columns: dict[str, Column] = {}
    problems = []
    for column in read_columns(names):
        values = _in_seconds(table[column]) if column == "timestamp" else table[column]
        try:
            columns[column] = _column_of_arrow(values)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            fault = f"column of {values.type} cannot be read ({error}); write it as text"
            problems.append(Problem(name, None, column, fault))
    if problems:
        raise DataError(problems)
    others = tuple(other for other in names if other not in columns)
    return Table(name, columns, others, np.arange(1, table.num_rows + 1), [])


def _column_of_arrow(column: pa.ChunkedArray) -> Column:
    import pyarrow as pa

    _check_bounds(column)
    if not pa.types.is_dictionary(column.type):
        try:
            column = column.dictionary_encode(null_encoding="encode")
        except pa.ArrowNotImplementedError:  # lists, structures and what else has no dictionary
            return encode_values(_values_of_arrow(column))
    array = column.combine_chunks()
    values = _values_of_arrow(array.dictionary)
    codes = array.indices.cast(pa.int64()).fill_null(len(values)).to_numpy()
    return Column([*values, None], codes)


def _check_bounds(column: pa.ChunkedArray) -> None:
    """Raise `ArrowInvalid` where a damaged file's numbers point outside of its own values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = pa.types.is_dictionary(column.type)
    for chunk in column.chunks:
        try:
            (chunk.dictionary if coded else chunk).validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):  # of which the validation has the row
                raise
        codes = chunk.indices.drop_null() if coded else ()
        if len(codes):
            least, most = pc.min_max(codes).as_py().values()
            if least < 0 or most >= len(chunk.dictionary):
                raise pa.ArrowInvalid(f"value {most} of {len(chunk.dictionary)}")


def _values_of_arrow(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Python values; bytes where they are no UTF-8 text, for the validation to name."""
    try:
        return [_decoded(value) for value in array.to_pylist()]
    except UnicodeDecodeError:
        return [_value_of_scalar(scalar) for scalar in array]


def _value_of_scalar(scalar: pa.Scalar) -> Any:
    try:
        return _decoded(scalar.as_py())
    except UnicodeDecodeError as error:
        return error.object


def _decoded(value: Any) -> Any:
    """Text of bytes that are UTF-8: some writers of Parquet do not mark their texts."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _in_seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates and times as seconds since 1970, in UTC where they name no time zone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if not pa.types.is_timestamp(column.type):
        return column
    ticks = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
    return pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), ticks)


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not. Bytes that are no UTF-8 become lone surrogates."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        fault = _no_text(stream.buffer.peek(4)[:4])
        if fault is not None:
            raise _fault(path, fault)
        yield stream


def _no_text(head: bytes) -> str | None:
    """What to say of a file that begins as no UTF-8 text does; None if it may be one."""
    for start, fault in NO_TEXTS.items():
        if head.startswith(start):
            return fault
    return UTF_16 if 0 in head else None  # its letters have a byte of zero


def _not_utf8(text: str) -> str | None:
    """What to say of bytes that are no UTF-8; None where all are."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        return f"not UTF-8 text (byte {byte:#04x}); save the file as UTF-8"
    return None


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
    return _table_of_records(str(path), records, rows, problems)


def _parse_line(line: str) -> tuple[dict[str, Any], str | None]:
    fault = _not_utf8(line)
    if fault is not None:
        return {}, fault
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
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
            numbered = _numbered_records(stream)
            header = next(numbered, (0, []))[1]
            if isinstance(header, str):
                raise _fault(path, f"the header is {header}")
            _refuse_twins(str(path), header)
            for number, fields in numbered:
                fault = fields if isinstance(fields, str) else _misfit(fields, header)
                if fault is not None:
                    problems.append(Problem(str(path), number, None, fault))
                elif fields:
                    records.append(dict(zip(header, fields, strict=True)))
                    rows.append(number)
    finally:
        csv.field_size_limit(limit)
    return _table_of_records(str(path), records, rows, problems, header)


def _numbered_records(stream: TextIO) -> Iterator[tuple[int, list[str] | str]]:
    """CSV records with their numbers, the header's being 0; of a broken one what is wrong."""
    reader = csv.reader(stream, strict=True)
    for number in itertools.count():
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"not CSV ({error}); check the quotes"
        else:
            yield number, _not_utf8("".join(fields)) or fields


def _misfit(fields: Sequence[str], header: Sequence[str]) -> str | None:
    if not fields or len(fields) == len(header):
        return None
    return f"has {len(fields)} fields, the header {len(header)}; check the quotes"


def _table_of_records(
    name: str,
    records: Sequence[Any],
    rows: Sequence[int],
    problems: Sequence[Problem] = (),
    header: Sequence[str] = (),
) -> Table:
    misfits = [
        Problem(name, row, None, f"expected a dict, found {type(record).__name__}")
        for row, record in zip(rows, records, strict=True)
        if not isinstance(record, dict)
    ]
    if misfits:
        raise DataError(misfits)
    names = list(dict.fromkeys([*header, *(key for record in records for key in record)]))
    columns = {
        key: encode_values([record.get(key) for record in records]) for key in read_columns(names)
    }
    others = tuple(str(other) for other in names if other not in columns)
    return Table(name, columns, others, np.array(rows, dtype=np.int64), list(problems))


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
    if value is None:
        return None
    try:
        return json.dumps(value, default=repr, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON could hold it: it equals itself only
        return id(value), type(value)

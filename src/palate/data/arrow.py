"""Parquet files, Arrow tables and what is made of them, as raw columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.data.table import (
    Column,
    Table,
    encode_values,
    file_fault,
    read_columns,
    refuse_twins,
)
from palate.errors import DataError, Problem

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path) -> Table:
    """The columns of a Parquet file that are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        strings = [field.name for field in schema if _is_string(field.type)]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            return table_of_arrow(str(path), file.read(read_columns(schema.names)), schema.names)
    except (pa.ArrowException, ValueError) as error:
        raise file_fault(path, f"not a whole Parquet file ({error}): write it again") from error


def table_of_arrow(name: str, table: pa.Table, names: Sequence[str] | None = None) -> Table:
    """The columns of an Arrow table; `names` are the source's, if the table has only some."""
    import pyarrow as pa

    names = table.column_names if names is None else names
    refuse_twins(name, names)
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

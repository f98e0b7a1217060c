"""The same rows in every format that is read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Row = dict[str, Any]

#: Rows that every format can hold: all its values are texts.
TEXTS: list[Row] = [
    {"user_id": "ann", "prompt": "why?", "chosen": "because", "rejected": "no idea"},
    {"user_id": "bob", "prompt": "why?", "chosen": "no idea", "rejected": "because"},
    {"user_id": "ann", "prompt": "où?\nici", "chosen": 'a "b", c;\td', "rejected": "素晴らしい 🎉"},
    {"user_id": "7", "prompt": "how?", "chosen": "so\r\nand so", "rejected": " x\u2028y\x85z "},
]
#: With all optional columns.
FULL: list[Row] = [
    row | {"group": f"g{i % 2}", "weight": 0.5 + i, "timestamp": 1_700_000_000 + i, "tie": False}
    for i, row in enumerate(TEXTS)
]


def turns(*contents: str) -> list[Row]:
    roles = ("user", "assistant") * len(contents)
    return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]


#: Conversations in every text column.
CONVERSATIONS: list[Row] = [
    {
        "user_id": user,
        "prompt": turns("why?", "what?", "that"),
        "chosen": turns(one)[:1],
        "rejected": turns(other)[:1],
    }
    for user, one, other in (("ann", "so", "é"), ("bob", "é", "so"), ("ann", "é", "then"))
]


def table(rows: list[Row], kind: pa.DataType | None = None) -> pa.Table:
    """An Arrow table; its strings of another kind of string, where asked."""
    made = pa.Table.from_pylist(rows)
    if kind is None:
        return made
    schema = [
        field.with_type(kind) if pa.types.is_string(field.type) else field for field in made.schema
    ]
    return made.cast(pa.schema(schema))


def chunked(rows: list[Row]) -> pa.Table:
    """A table of a chunk a row, each with its own dictionary."""
    dictionary = pa.dictionary(pa.int8(), pa.string())
    return pa.concat_tables([table([row], dictionary) for row in rows])


def dataset(rows: list[Row]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(rows)


def parquet(rows: list[Row], kind: pa.DataType | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table(rows, kind), stream, **options)
    return stream.getvalue()


def jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def escaped_jsonl(rows: list[Row]) -> bytes:
    return "\r\n".join(json.dumps(row) for row in rows).encode("utf-8-sig")


def comma_separated(rows: list[Row], **dialect: Any) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["prompt"], **dialect)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def zipped(write: Callable[[list[Row]], bytes]) -> Callable[[list[Row]], bytes]:
    return lambda rows: gzip.compress(write(rows), mtime=0)


#: A file's ending, and its bytes.
FILES: dict[str, Callable[[list[Row]], bytes]] = {
    "a.parquet": parquet,
    "large_string.parquet": lambda rows: parquet(rows, pa.large_string()),
    "dictionary.parquet": lambda rows: parquet(rows, pa.dictionary(pa.int16(), pa.string())),
    "binary.parquet": lambda rows: parquet(rows, pa.binary(), store_schema=False),
    "small_groups.PARQUET": lambda rows: parquet(rows, row_group_size=1, compression="zstd"),
    "a.jsonl": jsonl,
    "a.ndjson": escaped_jsonl,
    "a.jsonl.gz": zipped(jsonl),
    "a.csv": comma_separated,
    "quoted.csv": lambda rows: comma_separated(rows, quoting=csv.QUOTE_ALL, lineterminator="\n"),
    "a.csv.gz": zipped(comma_separated),
}
#: What is no file.
OBJECTS: dict[str, Callable[[list[Row]], Any]] = {
    "list": list,
    "tuple": tuple,
    "arrow": table,
    "arrow large_string": lambda rows: table(rows, pa.large_string()),
    "arrow string_view": lambda rows: table(rows, pa.string_view()),
    "arrow dictionary": lambda rows: table(rows, pa.dictionary(pa.int8(), pa.string())),
    "arrow chunks": chunked,
    "dataset": dataset,
    "dataset of chosen rows": lambda rows: dataset([*rows, *rows]).select(range(len(rows))),
}
#: Formats without conversations.
FLAT = ("csv", "binary", "string_view", "large_string", "dictionary", "chunks")


def source_of(name: str, rows: list[Row], folder: Path) -> Any:
    """The rows as `name` says: a file in the folder, or an object."""
    if name in OBJECTS:
        return OBJECTS[name](rows)
    path = folder / name
    path.write_bytes(FILES[name](rows))
    return path

"""Every format gives the same comparisons, and no row vanishes silently."""

from __future__ import annotations

import datetime
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate import PreferenceData
from palate.data.table import encode_values
from palate.errors import DataError
from palate.types import Message
from tests.unit.data import formats
from tests.unit.data.formats import CONVERSATIONS, FILES, FLAT, FULL, OBJECTS, TEXTS, Row, source_of

EVERY = [*FILES, *OBJECTS]
NESTED = [name for name in EVERY if not any(word in name for word in FLAT)]


@pytest.mark.parametrize("rows", [TEXTS, FULL], ids=["texts", "all columns"])
@pytest.mark.parametrize("name", EVERY)
def test_every_format_gives_the_same_comparisons(
    name: str, rows: list[Row], tmp_path: Path
) -> None:
    data = PreferenceData.load(source_of(name, rows, tmp_path))
    assert data.digest == PreferenceData.load(rows).digest
    assert len(data) == len(rows)


@pytest.mark.parametrize("name", NESTED)
def test_every_nested_format_gives_the_same_conversations(name: str, tmp_path: Path) -> None:
    data = PreferenceData.load(source_of(name, CONVERSATIONS, tmp_path))
    assert data.digest == PreferenceData.load(CONVERSATIONS).digest
    assert data.responses[0] == (Message("user", "so"),)


def test_the_comparisons_are_those_of_the_rows() -> None:
    data = PreferenceData.load(FULL)
    for i, (row, comparison) in enumerate(zip(FULL, data, strict=True)):
        assert data.user_ids[data.user[i]] == row["user_id"]
        assert comparison.prompt == row["prompt"]
        assert comparison.chosen == row["chosen"]
        assert comparison.rejected == row["rejected"]
        assert data.group is not None
        assert data.group_names[data.group[i]] == row["group"]
    np.testing.assert_array_equal(data.weight, [row["weight"] for row in FULL])
    np.testing.assert_array_equal(data.timestamp, [row["timestamp"] for row in FULL])


def test_items_are_the_distinct_prompts_with_responses() -> None:
    data = PreferenceData.load(TEXTS)
    texts = data.item_texts()
    assert len(set(texts)) == len(texts) == 6
    for row, chosen, rejected in zip(TEXTS, data.chosen_item, data.rejected_item, strict=True):
        assert texts[chosen] == (row["prompt"], row["chosen"])
        assert texts[rejected] == (row["prompt"], row["rejected"])


def test_texts_and_conversations_may_be_mixed(tmp_path: Path) -> None:
    rows = [TEXTS[0], CONVERSATIONS[0] | {"prompt": "why?"}, TEXTS[1] | {"user": 3}]
    data = PreferenceData.load(source_of("a.jsonl", rows, tmp_path))
    assert data.digest == PreferenceData.load(rows).digest
    assert data.prompts == ("why?",)
    assert data.responses == (
        "because",
        (Message("user", "so"),),
        "no idea",
        (Message("user", "é"),),
    )


def test_parquet_may_have_texts_beside_conversations(tmp_path: Path) -> None:
    rows = [row | {"prompt": "why?"} for row in CONVERSATIONS]
    data = PreferenceData.load(source_of("a.parquet", rows, tmp_path))
    assert data.digest == PreferenceData.load(rows).digest


def test_a_text_is_not_a_conversation_that_looks_like_it() -> None:
    rows = [CONVERSATIONS[0] | {"rejected": json.dumps(CONVERSATIONS[0]["chosen"])}]
    assert len(PreferenceData.load(rows).responses) == 2


@pytest.mark.parametrize("name", ["user", "user_id"])
def test_users_may_be_numbers(name: str, tmp_path: Path) -> None:
    rows = [{**TEXTS[0], name: 12}, {**TEXTS[1], name: "12"}, {**TEXTS[2], name: np.int64(12)}]
    for row in rows if name == "user" else []:
        del row["user_id"]
    assert PreferenceData.load(rows).user_ids == ("12",)
    table = pa.table({name: pa.array([12], pa.uint8()), **_texts(1)})
    assert PreferenceData.load(table).user_ids == ("12",)


def _texts(count: int) -> dict[str, list[str]]:
    return {name: [row[name] for row in TEXTS[:count]] for name in ("prompt", "chosen", "rejected")}


def test_of_two_user_columns_the_other_is_reported_as_not_read() -> None:
    data = PreferenceData.load([TEXTS[0] | {"user": "someone else", 5: 1}])
    assert data.user_ids == ("ann",)
    assert data.other_columns == ("user", "5")


def test_columns_that_are_not_read_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    odd = pa.array([1 << 62], pa.timestamp("ns", "Nowhere/City"))
    pq.write_table(pa.table({**_texts(1), "user": ["ann"], "odd": odd}), path)
    assert PreferenceData.load(path).other_columns == ("odd",)


def test_a_name_may_stand_in_for_the_user_column() -> None:
    rows = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in TEXTS]
    assert PreferenceData.load(rows, user="me").user_ids == ("me",)
    assert PreferenceData.load(TEXTS, user="me").user_ids == ("ann", "bob", "7")


TIMES: dict[str, Any] = {
    "seconds": 1_700_000_000,
    "figures": "1700000000.0",
    "date in UTC": "2023-11-14T22:13:20Z",
    "date elsewhere": "2023-11-15T03:43:20+05:30",
    "naive date is in UTC": "2023-11-14 22:13:20",
    "datetime": datetime.datetime(2023, 11, 14, 22, 13, 20),
    "aware datetime": datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC),
}


@pytest.fixture
def far_away() -> Iterator[None]:
    """A machine in another time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_away")
@pytest.mark.parametrize("value", TIMES.values(), ids=TIMES.keys())
def test_times_are_the_same_on_any_machine(value: Any) -> None:
    data = PreferenceData.load([TEXTS[0] | {"timestamp": value}])
    assert data.timestamp == [1_700_000_000]


ARROW_TIMES = {
    "s": pa.timestamp("s"),
    "ms": pa.timestamp("ms", "UTC"),
    "us": pa.timestamp("us", "Asia/Kathmandu"),
    "ns": pa.timestamp("ns"),
    "far": pa.timestamp("s"),
}


@pytest.mark.parametrize("kind", ARROW_TIMES.values(), ids=ARROW_TIMES.keys())
@pytest.mark.parametrize("seconds", [1_700_000_000, -1, 0])
def test_arrow_times_are_seconds(kind: pa.TimestampType, seconds: int) -> None:
    ticks = seconds * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    table = pa.table({"user": ["ann"], **_texts(1), "timestamp": pa.array([ticks], kind)})
    assert PreferenceData.load(table).timestamp == [seconds]


def test_arrow_dates_are_their_midnight_in_utc() -> None:
    day = pa.array([datetime.date(2023, 11, 14)])
    table = pa.table({"user": ["ann"], **_texts(1), "timestamp": day})
    assert PreferenceData.load(table).timestamp == [1_699_920_000]
    rows = [TEXTS[0] | {"timestamp": datetime.date(2023, 11, 14)}]
    assert PreferenceData.load(rows).timestamp == [1_699_920_000]


def test_the_order_of_rows_and_every_value_are_in_the_digest() -> None:
    digests = {PreferenceData.load(rows).digest for rows in (FULL, FULL[::-1], TEXTS, FULL[:-1])}
    for name, other in (("weight", 9), ("timestamp", 9), ("group", "x"), ("user_id", "x")):
        digests.add(PreferenceData.load([FULL[0] | {name: other}, *FULL[1:]]).digest)
    for name in ("prompt", "chosen", "rejected"):
        digests.add(PreferenceData.load([FULL[0] | {name: "x"}, *FULL[1:]]).digest)
    assert len(digests) == 11


NO_SOURCES: dict[str, Any] = {
    "number": 3,
    "dict": {"prompt": ["a"]},
    "generator": (row for row in TEXTS),
    "bytes": b"a.csv",
    "none": None,
}


@pytest.mark.parametrize("source", NO_SOURCES.values(), ids=NO_SOURCES.keys())
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(DataError, match="give a path, an Arrow table"):
        PreferenceData.load(source)


def test_a_datasets_dictionary_of_splits_or_a_stream_is_refused() -> None:
    datasets = pytest.importorskip("datasets")
    whole = formats.dataset(TEXTS)
    for source in (datasets.DatasetDict(train=whole), whole.to_iterable_dataset()):
        with pytest.raises(DataError, match="give a path, an Arrow table"):
            PreferenceData.load(source)


# -- properties ---------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
readable = texts.filter(lambda text: bool(text.strip()))
comparisons = st.lists(
    st.fixed_dictionaries(
        {"user_id": readable, "prompt": readable, "chosen": readable, "rejected": readable}
    ).filter(lambda row: row["chosen"] != row["rejected"]),
    min_size=1,
    max_size=6,
)


@given(comparisons)
@settings(max_examples=60)
@pytest.mark.parametrize("name", FILES)
def test_any_text_survives_every_file(
    name: str, tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    path = source_of(name, rows, tmp_path_factory.getbasetemp())
    data = PreferenceData.load(path)
    assert data.digest == PreferenceData.load(rows).digest
    assert [comparison.chosen for comparison in data] == [row["chosen"] for row in rows]


values = st.one_of(
    readable,
    st.sampled_from(["", "  ", None, 3, -1, 2.5, float("nan"), True, [], [{"role": "user"}], "1"]),
)
any_rows = st.lists(
    st.fixed_dictionaries(
        {"user_id": values, "prompt": values, "chosen": values, "rejected": values},
        optional={"weight": values, "timestamp": values, "tie": values, "group": values},
    ),
    min_size=1,
    max_size=8,
)


@given(any_rows)
@settings(max_examples=200)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_every_row_is_read_or_has_a_problem(
    name: str, tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    if name == "a.csv":
        header = dict.fromkeys(key for row in rows for key in row)
        rows = [{key: str(row.get(key, "")) for key in header} for row in rows]
    path = source_of(name, rows, tmp_path_factory.getbasetemp())
    data, problems = PreferenceData.inspect(path)
    faulty = {problem.row for problem in problems}
    assert None not in faulty
    assert len(data or ()) + len(faulty) == len(rows)
    kept = [row for number, row in enumerate(rows, start=1) if number not in faulty]
    for row, comparison in zip(kept, data or (), strict=True):
        assert comparison.chosen == row["chosen"]
    if problems:
        with pytest.raises(DataError) as error:
            PreferenceData.load(path)
        assert error.value.problems == tuple(problems)
    else:
        assert PreferenceData.load(path).left_out == ()


nested_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


@given(st.lists(nested_values, max_size=12))
@settings(max_examples=100)
def test_encoding_a_column_loses_nothing(raw: list[Any]) -> None:
    column = encode_values(raw)
    assert len(column.codes) == len(raw)
    for value, code in zip(raw, column.codes, strict=True):
        assert repr(column.values[code]) == repr(value)
    assert len({repr(value) for value in column.values}) == len({repr(value) for value in raw})


def test_values_that_no_json_could_hold_are_named() -> None:
    endless: list[Any] = []
    endless.append(endless)
    rows = [TEXTS[0] | {"prompt": endless}, TEXTS[1] | {"prompt": [{("a",): 1}]}]
    with pytest.raises(DataError) as error:
        PreferenceData.load(rows)
    assert [problem.row for problem in error.value.problems] == [1, 2]


def test_conversations_that_no_json_could_hold_are_told_apart() -> None:
    odd = {("a", "key"): 1}
    prompts = [[turn | odd for turn in formats.turns(text)] for text in ("one", "two")]
    rows = [row | {"prompt": prompt} for row, prompt in zip(TEXTS, prompts, strict=False)]
    plain = [
        row | {"prompt": formats.turns(text)}
        for row, text in zip(TEXTS, ("one", "two"), strict=False)
    ]
    assert PreferenceData.load(rows).digest == PreferenceData.load(plain).digest


def test_a_dictionary_may_be_as_large_as_its_numbers_allow() -> None:
    """And a null is still told from its last value."""
    words = [f"word {i}" for i in range(129)]
    numbers = pa.array([*range(128), None], pa.int8())
    column = pa.DictionaryArray.from_arrays(numbers, pa.array(words[:128]))
    texts = {"user": words, "prompt": words, "rejected": ["other"] * 129}
    with pytest.raises(DataError) as error:
        PreferenceData.load(pa.table({**texts, "chosen": column}))
    assert str(error.value).startswith("table, row 129, field 'chosen': the text is missing")


@pytest.mark.parametrize("number", [-1, 1, 2**31 - 1, -(2**31)])
def test_numbers_outside_of_a_dictionary_are_damage(number: int) -> None:
    numbers = pa.array([0, number], pa.int32())
    column = pa.DictionaryArray.from_arrays(numbers, pa.array(["only"]), safe=False)
    texts = {"user": ["a", "b"], "prompt": ["p", "p"], "rejected": ["x", "y"]}
    with pytest.raises(
        DataError, match=r"^table, field 'chosen': column of dictionary.* cannot be read"
    ):
        PreferenceData.load(pa.table({**texts, "chosen": column}))


def test_a_concatenated_gzip_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(
        gzip.compress(formats.jsonl(TEXTS[:2])) + gzip.compress(formats.jsonl(TEXTS[2:]))
    )
    assert PreferenceData.load(path).digest == PreferenceData.load(TEXTS).digest

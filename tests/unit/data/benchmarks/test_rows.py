from __future__ import annotations

import pytest

from palate.data.benchmarks.rows import (
    FieldError,
    Row,
    is_list_as_text,
    parse_rows,
    require_columns,
)
from palate.errors import DataError

ROW = Row("f", 3, {"a": "x", "n": 2, "f": 0.5, "t": True, "in": {"b": None}, "l": [{"c": 1}]})


def test_values_of_the_right_type_are_handed_over() -> None:
    assert (ROW.string("a"), ROW.text("a"), ROW.name("n")) == ("x", "x", "2")
    assert (ROW.number_of("f", 0, 1), ROW.whole("n", 0), ROW.flag("t")) == (0.5, 2, True)
    assert ROW.inner_list("l")[0].whole("c", 0) == 1
    assert ROW.inner("in").absent("b")
    assert ROW.absent("z")


@pytest.mark.parametrize(
    ("read", "field"),
    [
        (lambda: ROW.string("z"), "z"),
        (lambda: ROW.string("n"), "n"),
        (lambda: ROW.name("t"), "t"),
        (lambda: ROW.number_of("t"), "t"),
        (lambda: ROW.number_of("n", 0, 1), "n"),
        (lambda: ROW.whole("f", 0), "f"),
        (lambda: ROW.whole("t", 0), "t"),
        (lambda: ROW.whole("n", 3), "n"),
        (lambda: ROW.flag("n"), "n"),
        (lambda: ROW.inner("l"), "l"),
        (lambda: ROW.inner_list("in"), "in"),
        (lambda: ROW.inner("in").text("b"), "in.b"),
        (lambda: ROW.inner_list("l")[0].text("c"), "l[0].c"),
    ],
)
def test_a_wrong_value_says_where_it_stands(read: object, field: str) -> None:
    with pytest.raises(FieldError) as raised:
        read()  # type: ignore[operator]
    problem = raised.value.problem
    assert (problem.file, problem.row, problem.field) == ("f", 3, field)


def test_every_bad_row_is_told_of() -> None:
    rows = [Row("f", number, {"a": number % 2 == 0}) for number in range(1, 7)]

    def read(row: Row) -> int:
        if not row.flag("a"):
            raise row.fault("a", "odd")
        return row.number

    with pytest.raises(DataError) as raised:
        parse_rows(rows, read)
    assert [problem.row for problem in raised.value.problems] == [1, 3, 5]
    assert parse_rows(rows[1::2], read) == [2, 4, 6]


def test_a_column_is_missing_if_no_row_has_it() -> None:
    rows = [Row("f", 1, {"a": 1}), Row("f", 2, {"b": 1})]
    require_columns(rows, ["a", "b"])
    with pytest.raises(DataError, match="field 'c': column is missing; found a, b"):
        require_columns(rows, ["a", "c"])
    with pytest.raises(DataError, match="holds no row"):
        require_columns([], ["a"])


@pytest.mark.parametrize("text", ["['a']", '["a", "b"]', " ['a', \"b's\"]\n", "[]"])
def test_lists_written_as_text_are_known(text: str) -> None:
    assert is_list_as_text(text)


@pytest.mark.parametrize(
    "text", ["a", "[1, 2]", "[a, b]", "['a', 1]", "['a'] and more", "[" * 5000 + "]", "['a'"]
)
def test_other_texts_are_no_lists_of_texts(text: str) -> None:
    assert not is_list_as_text(text)

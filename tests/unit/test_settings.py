"""Settings from outside: what is unknown, of a wrong type or out of range has a message."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palate.errors import SettingsError
from palate.methods import METHODS, method_named
from palate.settings import build, parse_assignments

VRF = METHODS["vrf"].settings_class
BT = METHODS["bt"].settings_class

#: What is asked for, and what of it stands in the message.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"bases": "many"}, "setting bases is 'many'"),
    ({"bases": 2.5}, "setting bases is 2.5"),
    ({"bases": [8]}, "setting bases is [8]"),
    ({"hidden": None}, "setting hidden is None"),
    ({"bases": 1}, "bases is 1; expected 2 or more"),
    ({"dropout": 1.0}, "dropout is 1.0; expected 0 up to"),
    ({"dropout": math.nan}, "dropout is nan"),
    ({"learning_rate": -1e-3}, "learning_rate is -0.001; expected greater than 0"),
    ({"learning_rate": math.inf}, "learning_rate is inf"),
    ({"learning_rate": 0}, "learning_rate is 0.0"),
    ({"steps": 0}, "steps is 0; expected 1 to 10,000,000"),
    ({"steps": -5}, "steps is -5"),
    ({"weight_decay": -1}, "weight_decay is -1.0; expected 0 or more"),
    ({"head": "deep"}, "setting head is 'deep'"),
    ({"prior_expert": "perhaps"}, "setting prior_expert is 'perhaps'"),
    ({"log_variance": [1.0]}, "log_variance"),
    ({"log_variance": [3, -3]}, "log_variance is two bounds, the lower one first"),
    ({"steps": True}, "setting steps is True; expected a number"),
    ({"kl": False}, "setting kl is False; expected a number"),
    ({"margin": math.nan}, "setting margin is nan; expected a finite number"),
    ({"diversity": math.inf}, "setting diversity is inf"),
    ({"log_variance": [0.0, math.inf]}, "setting log_variance is [0.0, inf]"),
    ({"log_variance": [math.nan, 0.0]}, "log_variance"),
    ({"steps": 2**63}, "setting steps is 9223372036854775808; expected 1 to 10,000,000"),
    ({"basis": 8}, "unknown setting basis; expected one of steps, users_per_step"),
    ({"b": 1, "a": 1}, "unknown setting a, b; expected"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_bad_settings_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        build(VRF, values)
    assert message in str(error.value)


def test_settings_of_one_method_are_unknown_to_another() -> None:
    with pytest.raises(SettingsError, match="unknown setting bases"):
        build(BT, {"bases": 8})


@pytest.mark.parametrize("name", ["VRF", "", "lora", "../vrf"])
def test_an_unknown_method_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(SettingsError, match="expected one of bt, vrf"):
        method_named(name)


@pytest.mark.parametrize("name", METHODS)
def test_what_was_built_builds_again(name: str) -> None:
    settings_class = METHODS[name].settings_class
    built = build(settings_class, {"steps": 7, "weight_decay": 1})
    values = {field.name: getattr(built, field.name) for field in fields(built)}
    assert build(settings_class, values) == built
    assert built.steps == 7
    assert built.weight_decay == 1.0
    assert build(settings_class, {}) == settings_class()


ASSIGNMENTS: list[tuple[str, str, Any]] = [
    ("steps=12", "steps", 12),
    ("kl=0.1", "kl", 0.1),
    ("prior_expert=false", "prior_expert", False),
    ("margin=null", "margin", None),
    ("margin=none", "margin", None),
    ("margin=None", "margin", None),
    ("head=mlp", "head", "mlp"),
    ('head="mlp"', "head", "mlp"),
    ("log_variance=[-4, 6]", "log_variance", [-4, 6]),
    (" steps =3", "steps", 3),
    ("a=b=c", "a", "b=c"),
    ("a=", "a", ""),
    ("a=" + "[" * 100_000, "a", "[" * 100_000),
    ("a=" + "9" * 5000, "a", "9" * 5000),
]


@pytest.mark.parametrize(
    ("text", "name", "value"), ASSIGNMENTS, ids=[case[0][:20] for case in ASSIGNMENTS]
)
def test_a_value_is_json_where_it_can_be(text: str, name: str, value: Any) -> None:
    assert parse_assignments([text]) == {name: value}


@pytest.mark.parametrize("text", ["steps", "", "=3", " =3"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected name=value"):
        parse_assignments([text])


def test_the_last_assignment_of_a_name_holds() -> None:
    assert parse_assignments(["a=1", "b=2", "a=3"]) == {"a": 3, "b": 2}


names = st.sampled_from([field.name for field in fields(VRF)]) | st.text(max_size=8)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.floats(), max_size=3),
    st.sampled_from(["linear", "mlp", "sum", "product", "standard", "1", "0.5"]),
)


@given(st.dictionaries(names, values, max_size=4))
def test_any_settings_are_built_or_refused(chosen: dict[str, Any]) -> None:
    try:
        built = build(VRF, chosen)
    except SettingsError:
        return
    numbers = [getattr(built, name) for name in chosen if isinstance(getattr(built, name), float)]
    assert all(math.isfinite(number) for number in numbers)


@given(st.lists(st.text()))
def test_any_assignments_are_parsed_or_refused(texts: list[str]) -> None:
    try:
        parsed = parse_assignments(texts)
    except SettingsError:
        return
    assert len(parsed) <= len(texts)

"""Settings from outside: what is unknown, of a wrong type or out of range has a message."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palate.errors import SettingsError
from palate.methods import METHODS, MethodSettings, method_named
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
    with pytest.raises(SettingsError) as error:
        method_named(name)
    assert str(error.value) == f"unknown method {name!r}; expected one of {', '.join(METHODS)}"


#: Values other than the defaults, of which each method takes those that it has.
GIVEN = {"steps": 7, "weight_decay": 1.0, "ridge": 3.0, "bases": 3, "variant": "B", "kl": 0.5}


@pytest.mark.parametrize("name", METHODS)
def test_what_was_built_builds_again(name: str) -> None:
    settings_class = METHODS[name].settings_class
    known = [field.name for field in fields(settings_class)]
    given = {key: value for key, value in GIVEN.items() if key in known}
    built = build(settings_class, given)
    assert {key: getattr(built, key) for key in given} == given
    values = {key: getattr(built, key) for key in known}
    assert build(settings_class, values) == built
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


# -- every method's settings ----------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_what_may_be_tuned_exists_and_builds(name: str) -> None:
    settings_class = METHODS[name].settings_class
    space = settings_class.search_space()
    assert set(space) <= {field.name for field in fields(settings_class)}
    for key, options in space.items():
        assert len(set(options)) == len(options) > 1
        for option in options:
            assert getattr(build(settings_class, {key: option}), key) == option


@pytest.mark.parametrize("name", METHODS)
def test_tuning_begins_at_the_default(name: str) -> None:
    settings_class = METHODS[name].settings_class
    first = {key: options[0] for key, options in settings_class.search_space().items()}
    assert build(settings_class, first).candidates()[0] == settings_class().candidates()[0]


def left_open(settings: MethodSettings) -> set[str]:
    """What a method's settings may leave to validation, and do."""
    names = {"weight_decay", "ridge", "estimation"} & {field.name for field in fields(settings)}
    return {name for name in names if getattr(settings, name) is None}


@pytest.mark.parametrize("name", METHODS)
def test_candidates_leave_nothing_open_and_differ(name: str) -> None:
    default = METHODS[name].settings_class()
    candidates = default.candidates()
    assert len(set(candidates)) == len(candidates)
    assert (len(candidates) > 1) == bool(left_open(default))
    for candidate in candidates:
        assert not left_open(candidate)
        assert candidate.candidates() == [candidate]
        METHODS[name](candidate, 1 if name == "ref" else 4)


@pytest.mark.parametrize("name", METHODS)
def test_candidates_keep_what_was_asked_for(name: str) -> None:
    settings_class = METHODS[name].settings_class
    given = {key: GIVEN[key] for key in GIVEN if key in {f.name for f in fields(settings_class)}}
    for candidate in build(settings_class, given).candidates():
        assert {key: getattr(candidate, key) for key in given} == given


#: By method: what is out of range, and what of it stands in the message.
OUT_OF_RANGE: list[tuple[str, str, Any, str]] = [
    ("per_user", "ridge", 0, "ridge is 0.0; expected greater than 0"),
    ("per_user", "ridge", -1.0, "ridge is -1.0"),
    ("per_user", "ridge", math.nan, "ridge is nan"),
    ("vpl", "anneal", 2, "anneal is 2.0; expected 0 to 1"),
    ("vpl", "anneal", -0.1, "anneal is -0.1"),
    ("vpl", "kl", -1, "kl is -1.0; expected 0 or more"),
    ("vpl", "kl", math.inf, "kl is inf"),
    ("vpl", "dimensions", 0, "dimensions is 0; expected 1 to 100,000"),
    ("vpl", "hidden", 10**6, "hidden is 1000000; expected 1 to 100,000"),
    ("vpl", "reference_max", 0, "reference_max is 0"),
    ("pal", "variant", "C", "setting variant is 'C'"),
    ("pal", "prototypes", 0, "prototypes is 0"),
    ("pal", "dimensions", -3, "dimensions is -3"),
    ("pal", "hidden", 0, "hidden is 0"),
    ("lore", "bases", 1, "bases is 1; expected 2 or more (bt has one)"),
    ("lore", "bases", 10**6, "bases is 1000000"),
    ("lore", "gain", 0, "gain is 0.0; expected greater than 0"),
    ("lore", "pull", -1, "pull is -1.0; expected 0 or more"),
    ("pref", "bases", 0, "bases is 0"),
    ("pref", "l2", -0.5, "l2 is -0.5; expected 0 or more"),
    ("pref", "start", "kmeans", "setting start is 'kmeans'"),
    *[
        (name, *rest)
        for name in ("bt", "vpl", "pal", "lore", "pref", "vrf")
        for rest in (
            ("users_per_step", 0, "users_per_step is 0"),
            ("comparisons_per_user", 10**6, "comparisons_per_user is 1000000"),
            ("learning_rate", 0.0, "learning_rate is 0.0; expected greater than 0"),
            ("warmup", -1, "warmup is -1; expected 0 or more"),
        )
    ],
]


@pytest.mark.parametrize(("name", "key", "value", "message"), OUT_OF_RANGE)
def test_what_is_out_of_a_methods_range_is_refused(
    name: str, key: str, value: Any, message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        build(METHODS[name].settings_class, {key: value})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("pal", "variant", "C"), ("pref", "start", "kmeans"), ("lore", "bases", 1)],
)
def test_settings_are_checked_at_birth_too(name: str, key: str, value: Any) -> None:
    """Not at the door alone: nobody holds settings that make no sense."""
    with pytest.raises(SettingsError, match=key):
        METHODS[name].settings_class(**{key: value})


def test_only_pals_angle_reads_prompts() -> None:
    readers = {
        (name, variant)
        for name, method in METHODS.items()
        for variant in (("A", "B") if name == "pal" else (None,))
        if build(method.settings_class, {"variant": variant} if variant else {}).reads_prompts
    }
    assert readers == {("pal", "B")}


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

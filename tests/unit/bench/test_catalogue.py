"""Every setting is documented where it is defined; a setting that is not fails here."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from palate.bench.catalogue import describe_method, describe_settings, meanings_of
from palate.methods import METHODS, MethodSettings


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_says_what_it_means(name: str) -> None:
    for setting in describe_settings(METHODS[name].settings_class):
        assert setting["meaning"], f"{name}: setting {setting['name']} is not documented"


@pytest.mark.parametrize("name", METHODS)
def test_what_is_tuned_is_a_setting(name: str) -> None:
    cls = METHODS[name].settings_class
    assert set(cls.search_space()) <= {field.name for field in fields(cls)}
    assert all(len(values) > 1 for values in cls.search_space().values())


@dataclass(frozen=True)
class Documented(MethodSettings):
    """Settings of a toy, with one: colon in its first line.

    one, two: the first two; a second half: of it,
    on two lines. three and four: alike.
    five: the fifth.

    A paragraph that says nothing of six: nothing.
    """

    one: int = 1
    two: float = 2.0
    three: str = "c"
    four: tuple[float, ...] = (1.0,)
    five: bool | None = None
    silent: int = 0


def test_meanings_are_read_from_the_docstring() -> None:
    assert meanings_of(Documented) == {
        "one": "the first two; a second half: of it, on two lines.",
        "two": "the first two; a second half: of it, on two lines.",
        "three": "alike.",
        "four": "alike.",
        "five": "the fifth.",
    }


def test_an_undocumented_setting_has_no_meaning() -> None:
    described = {one["name"]: one for one in describe_settings(Documented)}
    assert described["silent"]["meaning"] == ""
    assert described["four"]["default"] == [1.0]
    assert described["five"]["type"] == "bool | None"


@dataclass(frozen=True)
class Extended(Documented):
    """More.

    five: another.
    six: the sixth.
    """

    six: int = 6


def test_a_class_documents_what_it_adds_or_changes() -> None:
    meanings = meanings_of(Extended)
    assert meanings["six"] == "the sixth."
    assert meanings["five"] == "another."
    assert meanings["three"] == "alike."


def test_abilities_are_the_methods_own() -> None:
    can = {name: describe_method(method)["can"] for name, method in METHODS.items()}
    assert can["bt"]["personal"] is False
    assert can["vrf"]["gives_uncertainty"] is True
    assert can["ref"]["reads_likelihood"] is True
    assert can["ref"]["trainable"] is False
    assert can["bt"]["trainable"] is True

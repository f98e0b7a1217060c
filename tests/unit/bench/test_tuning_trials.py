"""Tuning: equal trials, the defaults first, validation alone, kept and written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from palate.bench import tuning_trials
from palate.bench.experiment import Row
from palate.bench.experiment_file import read_experiment
from palate.bench.tuning_trials import Chosen, space_of, tune
from palate.methods import METHODS
from palate.training import DivergedError
from tests.unit.bench.world import Bench

ROWS = {
    "bt": {"method": "bt", "settings": {"steps": 8}},
    "lore": {"method": "lore", "settings": {"steps": 8, "gain": 1.0}},
    "ref": {"method": "ref"},
}


def tuned(bench: Bench, trials: int = 4, **changes: Any) -> list[Chosen]:
    path = bench.folder / "toy.yaml"
    if not path.exists():
        bench.write(**{"rows": ROWS, **changes})
    return tune(read_experiment(path), path, bench.out, bench.place, trials=trials)


def trials_of(bench: Bench, method: str, seed: int) -> list[Any]:
    found = [json.loads(path.read_text()) for path in (bench.out / "trials").iterdir()]
    return [
        one
        for one in found
        if (one["identity"]["method"], one["identity"]["seed"]) == (method, seed)
    ]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What every trial is made on."""
    made: list[Any] = []
    real = tuning_trials.try_settings

    def spy(method: Any, settings: Any, features: Any, split: Any, seed: int) -> Any:
        made.append((method.name, seed, settings, split))
        return real(method, settings, features, split, seed)

    monkeypatch.setattr(tuning_trials, "try_settings", spy)
    return made


def test_every_method_is_asked_as_often_the_defaults_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = tuning_trials._log_loss

    def spy(study: Any, settings: Any, materials: Any) -> float:
        asked.append((study.label, study.seed, settings))
        return real(study, settings, materials)

    monkeypatch.setattr(tuning_trials, "_log_loss", spy)
    tuned(bench, 4, rows={k: ROWS[k] for k in ("bt", "lore")})
    for label in ("bt", "lore"):
        space = space_of(Row(label, settings=ROWS[label]["settings"]))
        for seed in (0, 1):
            own = [settings for name, at, settings in asked if (name, at) == (label, seed)]
            assert len(own) == 4
            assert own[0] == {name: values[0] for name, values in space.items()}
            assert all(s[name] in space[name] for s in own for name in s)


def test_trials_see_nothing_that_is_evaluated(bench: Bench, calls: list[Any]) -> None:
    from palate.data import SplitSettings, make_split

    tuned(bench, 2, rows={"bt": ROWS["bt"]})
    assert calls
    for _, seed, _, validation in calls:
        split = make_split(validation.data, SplitSettings(seed=seed))  # of training rows alone
        assert len(validation.data) < 16 * 30
        assert split is not None
        whole = bench_split(bench, seed)
        trained = {row(whole.data, i) for i in whole.train}
        assert {row(validation.data, i) for i in range(len(validation.data))} <= trained


def bench_split(bench: Bench, seed: int) -> Any:
    from palate.data import PreferenceData, SplitSettings, make_split

    return make_split(PreferenceData.load(bench.folder / "toy.jsonl"), SplitSettings(seed=seed))


def row(data: Any, i: int) -> tuple[Any, ...]:
    return (
        data.user_ids[data.user[i]],
        *(data.responses[c[i]] for c in (data.chosen, data.rejected)),
    )


def test_the_chosen_one_has_the_least_loss_and_stands_in_the_file(bench: Bench) -> None:
    chosen = {(one.label, one.seed): one for one in tuned(bench)}
    rows = read_experiment(bench.folder / "toy.yaml").rows
    for label in ("bt", "lore"):
        for seed in (0, 1):
            best = min(trial["log_loss"] for trial in trials_of(bench, label, seed))
            assert chosen[label, seed].log_loss == best
            default = chosen[label, seed].default
            assert default is not None
            assert default >= best
            assert rows[label].tuned[seed] == chosen[label, seed].settings
    assert rows["bt"].settings_of(0)["steps"] == 8


def test_what_cannot_run_is_said_and_not_tuned(bench: Bench) -> None:
    chosen = [one for one in tuned(bench) if one.label == "ref"]
    assert all("no likelihood" in str(one.reason) for one in chosen)
    assert read_experiment(bench.folder / "toy.yaml").rows["ref"].tuned == {}


def test_trials_that_were_made_are_not_made_again(bench: Bench, calls: list[Any]) -> None:
    first = tuned(bench, 3)
    made = len(calls)
    assert tuned(bench, 3) == first
    assert len(calls) == made
    more = tuned(bench, 5)
    assert made < len(calls) <= made + 2 * 2 * 2
    assert all(b.log_loss <= a.log_loss for a, b in zip(first, more, strict=True) if a.log_loss)  # type: ignore[operator]


def test_what_the_row_settles_is_not_searched() -> None:
    space = METHODS["lore"].settings_class.search_space()
    assert set(space_of(Row("lore", settings={"gain": 1.0}))) == set(space) - {"gain"}
    assert set(space_of(Row("lore", over={"bases": [2]}))) == set(space) - {"bases"}


def test_settings_that_diverge_lose(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tuning_trials.try_settings

    def sometimes(method: Any, settings: Any, features: Any, split: Any, seed: int) -> Any:
        if settings.learning_rate == 3e-3:
            raise DivergedError("the loss is nan")
        return real(method, settings, features, split, seed)

    monkeypatch.setattr(tuning_trials, "try_settings", sometimes)
    (chosen,) = tuned(bench, 6, rows={"bt": ROWS["bt"]}, seeds=[0])
    assert chosen.default is None
    assert chosen.settings["learning_rate"] != 3e-3


def test_every_default_is_the_first_of_its_values() -> None:
    """Trial 0 is the method as it is without settings, or what it would choose first itself."""
    for method in METHODS.values():
        settings = method.settings_class()
        first = {name: values[0] for name, values in settings.search_space().items()}
        assert len(set(map(str, first))) == len(first)
        candidate = settings.candidates()[0]
        for name, value in first.items():
            assert value in (getattr(settings, name), getattr(candidate, name)), (method.name, name)

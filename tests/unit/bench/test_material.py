"""What cells are computed from: shares of the training data, splits, data that are kept."""

from __future__ import annotations

import numpy as np
import pytest

from palate.bench.experiment import DataChoice, Row, SplitChoice
from palate.bench.material import Materials, with_less
from palate.data import PreferenceData, SplitSettings, make_split
from palate.data.splits import Split
from palate.errors import ExperimentError, SettingsError
from tests import toy
from tests.unit.bench.world import Bench


@pytest.fixture(scope="module")
def split() -> Split:
    data = PreferenceData.load(toy.rows(users=40, each=30))
    return make_split(data, SplitSettings())


def test_the_whole_is_the_split_itself(split: Split) -> None:
    assert with_less(split, Row("bt")) is split


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_fewer_users_train_and_unseen_users_keep_all(split: Split, share: float) -> None:
    less = with_less(split, Row("bt", share_of_users=share))
    user = split.data.user
    whole, kept = np.unique(user[split.train]), np.unique(user[less.train])
    assert len(kept) == round(share * len(whole))
    np.testing.assert_array_equal(less.train, split.train[np.isin(user[split.train], kept)])
    assert set(less.seen) == set(split.seen) & set(kept)
    for name in ("reference", "evaluation", "unseen"):
        np.testing.assert_array_equal(getattr(less, name), getattr(split, name))


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_every_user_trains_on_fewer_comparisons(split: Split, share: float) -> None:
    less = with_less(split, Row("bt", share_of_comparisons=share))
    before = np.bincount(split.data.user[split.train])
    after = np.bincount(split.data.user[less.train], minlength=len(before))
    np.testing.assert_array_equal(after, np.maximum(before > 0, np.ceil(share * before)))
    np.testing.assert_array_equal(less.seen, split.seen)
    assert set(less.train) <= set(split.train)


@pytest.mark.parametrize("name", ["share_of_users", "share_of_comparisons"])
def test_smaller_shares_lie_within_larger_ones(split: Split, name: str) -> None:
    parts = [set(with_less(split, Row("bt", **{name: s})).train) for s in (0.2, 0.4, 0.8)]  # type: ignore[arg-type]
    assert parts[0] < parts[1] < parts[2]


def test_a_share_is_drawn_with_the_seed_of_the_split(split: Split) -> None:
    other = make_split(split.data, SplitSettings(seed=1))
    row = Row("bt", share_of_users=0.3)
    users = [set(s.data.user[with_less(s, row).train]) for s in (split, other)]
    assert users[0] != users[1]


def test_data_are_loaded_once_for_all_seeds(bench: Bench) -> None:
    materials = Materials(bench.place)
    choice = DataChoice("file", "toy.jsonl")
    assert materials.data(choice, 0) is materials.data(choice, 1)
    assert materials.split(choice, SplitChoice(), 0).settings.seed == 0
    assert materials.split(choice, SplitChoice(), 1).settings.seed == 1


def test_a_split_of_its_own_is_refused_where_there_is_none(bench: Bench) -> None:
    materials = Materials(bench.place)
    with pytest.raises(ExperimentError, match="split kind is own"):
        materials.split(DataChoice("file", "toy.jsonl"), SplitChoice("own"), 0)


def test_a_protocol_brings_its_split_and_each_seed_its_own(bench: Bench) -> None:
    materials = Materials(bench.place)
    choice = DataChoice("file", "toy.jsonl", {"protocol": "pref"})
    splits = [materials.split(choice, SplitChoice("own"), seed) for seed in (0, 1)]
    assert set(splits[0].unseen) != set(splits[1].unseen)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (DataChoice("file"), "data: source is missing"),
        (DataChoice("moon"), "data: unknown benchmark 'moon'"),
        (DataChoice("attributes", options={"people": 3}), "data: unknown setting people"),
    ],
)
def test_data_that_do_not_exist_are_refused(choice: DataChoice, message: str, bench: Bench) -> None:
    with pytest.raises(SettingsError) as error:
        Materials(bench.place).data(choice, 0)
    assert message in str(error.value)

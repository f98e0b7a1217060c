"""Value heads: their arithmetic, and files that are tied to a policy and a model."""

import json
from pathlib import Path

import pytest
import torch

from palate.alignment.values import CONFIG, TENSORS, HeadsShape, Owners, ValueHeads
from palate.errors import ModelError
from palate.files import OutputError

OWNERS = Owners("policy-one", "model-one")


def drawn_heads(bases: int = 3) -> ValueHeads:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads = ValueHeads(HeadsShape(width=8, bases=bases, hidden=6, rank=4))
        heads.scale.uniform_(0.5, 2.0)
        heads.centre.normal_()
    return heads.eval().requires_grad_(False)


def test_a_users_advantage_is_the_weighted_sum_over_bases() -> None:
    heads = drawn_heads()
    hidden, weights = torch.randn(5, 8), torch.randn(5, 3)
    keys = heads.keys(torch.randn(5, 7, 8))
    queries = heads.queries(heads.units(hidden))
    expected = torch.zeros(5, 7)
    for n in range(5):
        for m in range(7):
            for k in range(3):
                own = float(queries[n, k] @ keys[n, m])
                expected[n, m] += weights[n, k] * heads.scale[k] * own
    torch.testing.assert_close(heads.advantages(hidden, weights, keys), expected)


def test_values_are_in_units_of_the_rewards() -> None:
    heads, hidden = drawn_heads(), torch.randn(5, 8)
    standard = heads.state(heads.units(hidden))
    torch.testing.assert_close(heads.values(hidden), standard * heads.scale + heads.centre)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    heads, hidden = drawn_heads(), torch.randn(4, 8)
    heads.save(tmp_path / "values", OWNERS, {"answers": 10})
    again = ValueHeads.load(tmp_path / "values", OWNERS)
    assert again.shape == heads.shape
    assert torch.equal(again.values(hidden), heads.values(hidden))
    assert torch.equal(again.reach, heads.reach)
    assert json.loads((tmp_path / "values" / CONFIG).read_text())["report"] == {"answers": 10}


def test_equal_heads_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        drawn_heads().save(tmp_path / name, OWNERS, {})
    for file in (CONFIG, TENSORS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    drawn_heads().save(tmp_path / "values", OWNERS, {})
    with pytest.raises(OutputError):
        drawn_heads().save(tmp_path / "values", OWNERS, {})


@pytest.mark.parametrize(
    "other", [Owners("policy-two", "model-one"), Owners("policy-one", "model-two")]
)
def test_other_owners_are_refused(tmp_path: Path, other: Owners) -> None:
    drawn_heads().save(tmp_path / "values", OWNERS, {})
    with pytest.raises(ModelError, match=r"belong to (policy|model) \w+-one"):
        ValueHeads.load(tmp_path / "values", other)


@pytest.mark.parametrize("file", [CONFIG, TENSORS])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    drawn_heads().save(tmp_path / "values", OWNERS, {})
    (tmp_path / "values" / file).unlink()
    with pytest.raises(ModelError, match="no values in"):
        ValueHeads.load(tmp_path / "values", OWNERS)


@pytest.mark.parametrize("file", [CONFIG, TENSORS])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damage_is_seen(tmp_path: Path, file: str, damage: str) -> None:
    drawn_heads().save(tmp_path / "values", OWNERS, {})
    path = tmp_path / "values" / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(b"" if damage == "empty" else bytes(content[: len(content) // 2 + 1]))
    if damage == "flip":
        path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        ValueHeads.load(tmp_path / "values", OWNERS)


@pytest.mark.parametrize("content", ["[]", "null", '{"format": 1}', "{"])
def test_another_json_is_no_configuration(tmp_path: Path, content: str) -> None:
    drawn_heads().save(tmp_path / "values", OWNERS, {})
    (tmp_path / "values" / CONFIG).write_text(content)
    with pytest.raises(ModelError, match="damaged"):
        ValueHeads.load(tmp_path / "values", OWNERS)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        HeadsShape(width=8, bases=0)

"""The command line in this process, and a trained model with all that its commands read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palate import PreferenceData
from palate.cli import main
from tests import toy as world

CANDIDATES = [f"response {i} to 3" for i in range(world.RESPONSES)]


@dataclass(frozen=True)
class Result:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Palate = Callable[..., Result]


def call(words: Sequence[object]) -> int:
    """The real entry point with its arguments; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["palate", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


@pytest.fixture
def palate(capsys: pytest.CaptureFixture[str]) -> Palate:
    def run(*words: object) -> Result:
        capsys.readouterr()
        return Result(call(words), *capsys.readouterr())

    return run


@dataclass(frozen=True)
class Desk:
    """Files that belong together. Tests read them and never write into them."""

    comparisons: Path
    answers: Path
    candidates: Path
    backbone: Path
    cache: Path
    run: Path

    def train(self, out: Path, *more: object, file: Path | None = None) -> list[object]:
        """The words of a quick training."""
        words: list[object] = ["train", file or self.comparisons, "--out", out]
        words += ["--backbone", self.backbone, "--cache", self.cache]
        for name, value in world.FEW_STEPS.items():
            words += ["--set", f"{name}={value}"]
        return [*words, *more]

    def adapt(self, out: Path, answers: Path | None = None, *more: object) -> list[object]:
        """The words of an adaptation."""
        return ["adapt", self.run, answers or self.answers, "--out", out, *self._cached, *more]

    def rank(self, *more: object, candidates: Path | None = None) -> list[object]:
        """The words of a ranking."""
        words = ["rank", self.run, candidates or self.candidates, "--prompt", "prompt 3"]
        return [*words, *self._cached, *more]

    @property
    def _cached(self) -> list[object]:
        return ["--cache", self.cache]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, toy: PreferenceData) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    answers = [
        {name: text for name, text in row.items() if name != "user_id"}
        for row in world.rows(users=1, each=10, seed=1)
    ]
    made = Desk(
        comparisons=write_jsonl(folder / "comparisons.jsonl", world.rows()),
        answers=write_jsonl(folder / "answers.jsonl", answers),
        candidates=folder / "candidates.txt",
        backbone=world.make_backbone(folder / "backbone"),
        cache=folder / "cache",
        run=folder / "run",
    )
    made.candidates.write_text("\n".join(CANDIDATES))
    texts = [(row["prompt"], row[side]) for row in answers for side in ("chosen", "rejected")]
    texts += [*toy.item_texts(), *(("prompt 3", text) for text in CANDIDATES)]
    world.fill_cache(made.cache, made.backbone, texts)
    assert call(made.train(made.run)) == 0
    return made

"""The small policy: its corpus and tokenizer, the same bytes, resumed training, one at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from palate.alignment.local import LocalPolicy
from palate.alignment.rule_world import attributes_of
from palate.alignment.small import small_policy
from palate.alignment.small.batches import UNREAD, collate, order, tokenize
from palate.alignment.small.corpus import Document, system_prompt, write_documents
from palate.alignment.small.tokenizer import train_tokenizer
from palate.alignment.small.training import new_model
from palate.data.synthetic import ATTRIBUTES
from palate.data.synthetic.content import load_content
from palate.errors import CacheError, PolicyError
from palate.progress import Advance
from tests.unit.alignment.tiny import TINY

#: Steps of a training that is stopped after its first checkpoint.
LONG = replace(TINY, steps=60, documents=40, batch=2)


def place(cache: Path, settings: object = TINY) -> Path:
    return cache / "policies" / f"small-{settings.key}"  # type: ignore[attr-defined]


def weights(cache: Path, settings: object = TINY) -> bytes:
    return (place(cache, settings) / "model.safetensors").read_bytes()


class StoppedError(Exception):
    """What stops a training in the test."""


class StopAt:
    """Progress that stops what it shows after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Advance]:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            if done >= self.step:
                raise StoppedError

        yield advance


class Seen(StopAt):
    """Progress that notes the first report."""

    def __init__(self) -> None:
        super().__init__(10**9)
        self.first: list[int] = []

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Advance]:
        del step, total
        yield self.first.append


# -- corpus and tokenizer ---------------------------------------------------------------------


def test_a_system_prompt_names_traits_that_the_answer_has() -> None:
    documents = write_documents(400, seed=0)
    told = [document for document in documents if document.system is not None]
    assert 150 < len(told) < 250
    for document in told:
        assert document.system is not None
        words = document.system.strip(".").split()
        signs = attributes_of(document.answer)
        for attribute, sign in zip(ATTRIBUTES, signs, strict=True):
            for direction in (1, -1):
                if attribute.direction(direction) in words:
                    assert sign == direction, (document, attribute)


def test_the_corpus_has_every_prompt_and_manner_and_follows_from_its_seed() -> None:
    documents = write_documents(4000, seed=0)
    prompts = {prompt for subject in load_content().subjects for prompt in subject.prompts}
    assert {document.prompt for document in documents} == prompts
    signs = torch.tensor([attributes_of(document.answer) for document in documents])
    assert bool(((signs == 1).float().mean(0) > 0.06).all())
    assert bool(((signs == -1).float().mean(0) > 0.06).all())
    assert write_documents(50, seed=3) == write_documents(50, seed=3)
    assert write_documents(50, seed=3) != write_documents(50, seed=4)


def test_system_prompts_for_callers_are_those_of_the_corpus() -> None:
    assert system_prompt(["formal", "concise"]) == "Write a formal and concise answer."
    assert system_prompt(["rude"], form=2) == "The user likes rude answers."


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return write_documents(300, seed=0)


@pytest.fixture(scope="module")
def tokenizer(documents: list[Document]) -> object:
    return train_tokenizer([document.answer for document in documents], 800)


@pytest.mark.parametrize(
    "text", ["Use vinegar.", "日本語 🙂", "\tTabs\n\nand lines", "", "No. 5? Yes!!", "x" * 500]
)
def test_any_text_survives_its_tokens(tokenizer: LocalPolicy, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    assert tokenizer.decode(ids) == text  # type: ignore[attr-defined]


def test_runs_of_words_shorten_the_worlds_answers() -> None:
    documents = write_documents(6000, seed=1)
    tokenizer = train_tokenizer([document.answer for document in documents], 4096)
    rows = tokenize(tokenizer, documents)
    words = sum(len(document.answer.split()) for document in documents)
    assert sum(len(row.answer) for row in rows) < 0.75 * words
    assert len(tokenizer) <= 4096


def test_an_answers_ids_are_its_text_and_the_end(
    tokenizer: LocalPolicy, documents: list[Document]
) -> None:
    for document, row in zip(documents[:20], tokenize(tokenizer, documents[:20]), strict=True):
        read = tokenizer.decode(row.opening + row.answer)  # type: ignore[attr-defined]
        system = "" if document.system is None else f"<|system|> {document.system}"
        expected = f"{system}<|user|> {document.prompt}<|assistant|> {document.answer}<|end|>"
        assert read == expected


def test_all_documents_are_seen_equally_often_in_batches_of_alike_length() -> None:
    lengths = torch.randint(5, 90, (256,), generator=torch.Generator().manual_seed(0))
    steps = order(lengths, 8, 64, seed=1)
    assert torch.bincount(torch.cat(steps)).tolist() == [2] * 256
    within = torch.stack([lengths[rows].float().std() for rows in steps]).mean()
    assert float(within) < 0.4 * float(lengths.float().std())


def test_the_loss_reads_answers_alone(tokenizer: LocalPolicy, documents: list[Document]) -> None:
    rows = tokenize(tokenizer, documents[:3])
    ids, wanted = collate(rows, pad=0)
    for row, own, target in zip(rows, ids, wanted, strict=True):
        read = target != UNREAD
        assert target[read].tolist() == row.answer
        assert own[read].tolist() == row.answer
        assert int(read.nonzero()[0]) == len(row.opening)


# -- training ---------------------------------------------------------------------------------


def test_it_is_a_qwen3_of_a_few_million_parameters(tokenizer: LocalPolicy) -> None:
    from palate.alignment.small.settings import SmallSettings

    model = new_model(SmallSettings(), tokenizer)
    assert model.config.model_type == "qwen3"
    assert 1.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 4e6


def test_training_twice_gives_the_same_bytes(
    tiny_policy: LocalPolicy, tiny_cache: Path, tmp_path: Path
) -> None:
    again = small_policy(tmp_path, settings=TINY)
    assert weights(tmp_path) == weights(tiny_cache)
    assert again.identity == tiny_policy.identity
    assert again.name == "small"


def test_a_stopped_training_goes_on_where_it_was(tmp_path: Path) -> None:
    """And comes to the very bytes that it would have come to; nothing half done is in place."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    small_policy(whole, settings=LONG)
    with pytest.raises(StoppedError):
        small_policy(stopped, StopAt(55), LONG)
    assert not place(stopped, LONG).exists()
    progress = Seen()
    small_policy(stopped, progress, LONG)
    assert progress.first[0] == 50
    assert weights(stopped, LONG) == weights(whole, LONG)
    left = {path.name for path in (stopped / "policies").iterdir()}
    assert left == {f"small-{LONG.key}", f"small-{LONG.key}.lock"}


def test_a_damaged_checkpoint_is_begun_anew(tiny_cache: Path, tmp_path: Path) -> None:
    place(tmp_path).parent.mkdir()
    place(tmp_path).with_suffix(".partial").write_bytes(b"cut off")
    small_policy(tmp_path, settings=TINY)
    assert weights(tmp_path) == weights(tiny_cache)


@pytest.mark.slow
def test_two_processes_train_it_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from palate.alignment.small import small_policy; "
        "from tests.unit.alignment.tiny import TINY; "
        "print(small_policy(Path(sys.argv[1]), settings=TINY).identity)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(list((tmp_path / "policies").glob(".small-*"))) == 0


def test_a_damaged_policy_is_named(tiny_cache: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_cache, tmp_path, dirs_exist_ok=True)
    path = place(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PolicyError, match="the small policy is damaged"):
        small_policy(tmp_path, settings=TINY)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("a file")
    with pytest.raises(CacheError, match="set PALATE_CACHE"):
        small_policy(tmp_path, settings=TINY)


@pytest.mark.parametrize(
    "wrong", [{"hidden": 100}, {"steps": 0}, {"vocabulary": 100}, {"batch": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        replace(TINY, **wrong)


def test_what_decides_the_policy_decides_its_address() -> None:
    assert replace(TINY, seed=2).key != TINY.key
    assert replace(TINY).key == TINY.key

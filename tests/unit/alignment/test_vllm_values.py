"""The adapter for vLLM against a stand-in of its interface; it was not run on vLLM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palate.alignment.value_sampling import SteeringSettings, steer
from palate.alignment.values import HeadsShape, ValueHeads
from palate.alignment.vllm_values import States, keep_states, values_processor
from palate.errors import DataError

WIDTH, BASES, VOCABULARY = 8, 3, 12
SETTINGS = SteeringSettings(0.5, top=5)


# -- a stand-in of vllm.v1.sample.logits_processor --------------------------------------------


class LogitsProcessor(ABC):
    @classmethod
    def validate_params(cls, params: Any) -> None:
        return None

    @abstractmethod
    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None: ...

    @abstractmethod
    def apply(self, logits: Tensor) -> Tensor: ...

    @abstractmethod
    def is_argmax_invariant(self) -> bool: ...

    @abstractmethod
    def update_state(self, batch_update: BatchUpdate | None) -> None: ...


class MoveDirectionality(Enum):
    UNIDIRECTIONAL = auto()
    SWAP = auto()


@dataclass(frozen=True)
class BatchUpdate:
    batch_size: int
    removed: list[int] = field(default_factory=list)
    added: list[tuple[int, Any, list[int] | None, list[int]]] = field(default_factory=list)
    moved: list[tuple[int, int, MoveDirectionality]] = field(default_factory=list)


@dataclass
class SamplingParams:
    extra_args: dict[str, Any] | None = None


class Model(nn.Module):
    """As vLLM's models: hidden states go to the module that makes logits of them."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.logits_processor = Head()

    def compute_logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.logits_processor(self.lm_head, hidden)
        return logits


class Head(nn.Module):
    def forward(self, lm_head: nn.Linear, hidden: Tensor) -> Tensor:
        logits: Tensor = lm_head(hidden)
        return logits


# -- the tests --------------------------------------------------------------------------------


class Engine:
    """A model, its processor and the steps of an engine."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = Model().requires_grad_(False)
        self.heads = ValueHeads(HeadsShape(WIDTH, BASES, hidden=6, rank=4)).requires_grad_(False)
        self.embedding = torch.randn(VOCABULARY, WIDTH)
        self.states = States()
        made = values_processor(LogitsProcessor, self.heads, self.embedding, self.states, SETTINGS)
        self.processor = made(None, torch.device("cpu"), False)
        keep_states(self.model, self.states)

    def moved(self, hidden: Tensor, weights: dict[int, list[float]]) -> Tensor:
        """What the logits ought to be."""
        logits = self.model.lm_head(hidden)
        keys = self.heads.keys(self.embedding)
        for row, own in weights.items():
            w = torch.tensor([own])
            logits[row] = steer(
                logits[row : row + 1], hidden[row : row + 1], self.heads, w, keys, SETTINGS
            )
        return logits

    def step(self, hidden: Tensor) -> Tensor:
        moved: Tensor = self.processor.apply(self.model.compute_logits(hidden))
        return moved


@pytest.fixture
def engine() -> Engine:
    with torch.random.fork_rng():
        return Engine()


def params(*weights: float) -> SamplingParams:
    return SamplingParams({"palate_weights": list(weights)} if weights else None)


ALICE, BOB = [1.0, 0.0, 2.0], [0.0, -3.0, 1.0]


def added(*rows: tuple[int, SamplingParams]) -> list[Any]:
    return [(row, own, [1, 2], []) for row, own in rows]


def test_rows_with_weights_are_moved_and_others_left_alone(engine: Engine) -> None:
    rows = added((0, params(*ALICE)), (1, params()), (2, params(*BOB)))
    engine.processor.update_state(BatchUpdate(3, added=rows))
    hidden = torch.randn(3, WIDTH)
    torch.testing.assert_close(engine.step(hidden), engine.moved(hidden, {0: ALICE, 2: BOB}))


def test_requests_that_go_and_come_take_their_weights_along(engine: Engine) -> None:
    rows = added((0, params(*ALICE)), (1, params(*BOB)), (2, params()))
    engine.processor.update_state(BatchUpdate(3, added=rows))
    engine.processor.update_state(None)
    engine.processor.update_state(
        BatchUpdate(2, removed=[0], moved=[(1, 0, MoveDirectionality.UNIDIRECTIONAL)])
    )
    hidden = torch.randn(2, WIDTH)
    torch.testing.assert_close(engine.step(hidden), engine.moved(hidden, {0: BOB}))
    engine.processor.update_state(BatchUpdate(2, added=added((1, params(*ALICE)))))
    engine.processor.update_state(BatchUpdate(2, moved=[(0, 1, MoveDirectionality.SWAP)]))
    torch.testing.assert_close(engine.step(hidden), engine.moved(hidden, {0: ALICE, 1: BOB}))


def test_a_request_in_anothers_place_does_not_inherit_weights(engine: Engine) -> None:
    engine.processor.update_state(BatchUpdate(1, added=added((0, params(*ALICE)))))
    engine.processor.update_state(BatchUpdate(1, added=added((0, params()))))
    hidden = torch.randn(1, WIDTH)
    torch.testing.assert_close(engine.step(hidden), engine.moved(hidden, {}))
    engine.processor.update_state(BatchUpdate(2, added=added((1, params(*BOB)))))
    engine.processor.update_state(BatchUpdate(1, moved=[(0, 1, MoveDirectionality.UNIDIRECTIONAL)]))
    assert not engine.processor.weights


def test_a_greedy_answer_may_change(engine: Engine) -> None:
    assert engine.processor.is_argmax_invariant() is False


def test_states_that_do_not_fit_are_an_error(engine: Engine) -> None:
    engine.processor.update_state(BatchUpdate(1, added=added((0, params(*ALICE)))))
    with pytest.raises(DataError, match="hidden states of none rows for 2 rows"):
        engine.processor.apply(torch.zeros(2, VOCABULARY))
    engine.model.compute_logits(torch.randn(3, WIDTH))
    with pytest.raises(DataError, match="hidden states of 3 rows for 2 rows"):
        engine.processor.apply(torch.zeros(2, VOCABULARY))


@pytest.mark.parametrize(
    "wrong", [[1.0], [1.0, 2.0, float("nan")], "abc", [[1.0, 2.0, 3.0]], [1, "a", 2], {}]
)
def test_other_weights_are_refused_at_the_door(engine: Engine, wrong: Any) -> None:
    with pytest.raises(ValueError, match="palate_weights"):
        type(engine.processor).validate_params(SamplingParams({"palate_weights": wrong}))


def test_weights_that_fit_pass_the_door(engine: Engine) -> None:
    type(engine.processor).validate_params(params(*ALICE))
    type(engine.processor).validate_params(params())
    type(engine.processor).validate_params(SamplingParams({"other": 1}))

"""Requests that Schemathesis makes from the OpenAPI document: in its terms, and against them."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity
from schemathesis import GenerationMode


def fault_of(response: Any) -> str | None:
    """What is wrong with an answer, or None."""
    status, text = response.status_code, response.text
    if status >= 500:
        return f"status {status}"
    if "Traceback" in text:
        return "a trace"
    if status < 400:
        return None
    try:
        content = response.json()
    except ValueError:
        return f"status {status} without JSON: {text[:100]!r}"
    keys = {"message", "type", "code", "param"}
    if list(content) != ["error"] or set(content["error"]) != keys:
        return f"status {status} of another shape: {text[:200]!r}"
    return None


def fuzz(url: str, key: str, cases: int, seed: int = 0) -> tuple[Counter[int], list[str]]:
    """So many requests or some more, over all routes alike; answers by status, and faults."""
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    each = -(-cases // (len(operations) * len(modes)))
    headers = {"Authorization": f"Bearer {key}"}

    def attempt(case: Any) -> None:
        response = case.call(headers=headers, timeout=30)
        statuses[response.status_code] += 1
        fault = fault_of(response)
        if fault is not None:
            faults.append(f"{case.method} {case.formatted_path}: {fault}; {case.body!r:.300}")

    chosen = hypothesis.settings(
        max_examples=each,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    number = seed
    while sum(statuses.values()) < cases:  # some routes take nothing that could be wrong
        for operation in operations:
            for mode in modes:
                strategy = operation.as_strategy(generation_mode=mode)
                given = hypothesis.given(case=strategy)(attempt)
                _run(hypothesis.seed(number)(chosen(given)))
        number += 1
    return statuses, faults


def _run(test: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            test()
        except hypothesis.errors.Unsatisfiable:
            pass
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:
                raise

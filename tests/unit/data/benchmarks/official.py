"""Rows in the official forms of the public data sets, small, and copies of them on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from palate.data.benchmarks.personalllm import REWARD_MODELS

Row = dict[str, Any]


def personalllm(prompts: int, *, start: int = 0, seed: int = 0) -> list[Row]:
    """Prompts with 8 responses, each scored by 10 reward models on scales of their own."""
    rng = np.random.default_rng([seed, start])
    rows = []
    for number in range(start, start + prompts):
        row: Row = {"prompt": f"prompt {number}"}
        for i in range(1, 9):
            row[f"response_{i}"] = f"response {i} to {number}"
            for place, model in enumerate(REWARD_MODELS):
                row[f"response_{i}_{model}"] = float(rng.normal(place, 1.0 + place))
        rows.append(row)
    return rows


def comparison(worker: str, post: int, *, choice: int = 0, number: int = 0) -> Row:
    """One annotation of TL;DR."""
    return {
        "info": {
            "id": f"t3_{post}",
            "post": f"the story of {post}",
            "title": f"title {post}",
            "subreddit": "relationships",
            "site": None,
            "article": None,
        },
        "summaries": [
            {"text": f" summary {side} {number} of {post}", "policy": "sup", "note": None}
            for side in ("left", "right")
        ],
        "choice": choice,
        "worker": worker,
        "batch": "batch3",
        "split": "train",
        "extra": {"confidence": 7},
    }


def news(worker: str, article: int) -> Row:
    """An annotation of a news article: it has no post."""
    row = comparison(worker, article)
    row["info"] |= {"post": None, "title": "news", "subreddit": None, "site": "cnn"}
    row["info"]["article"] = "An article."
    return row | {"batch": "cnndm0"}


def tldr(workers: dict[str, int], *, posts: int = 400) -> list[Row]:
    """Annotations by worker, each on different posts, spread over all of them."""
    rows = []
    for place, (worker, count) in enumerate(workers.items()):
        for i in range(count):
            post = (i * 7 + place * 3) % posts
            rows.append(comparison(worker, post, choice=i % 2, number=place))
    return rows


def conversation(user: str, number: int, *, turns: int = 2, balanced: bool = True) -> list[Row]:
    """The utterances of a conversation of PRISM: four responses to start with, then two."""
    name = f"c{user}-{number}"
    return [
        {
            "utterance_id": f"ut-{name}-{turn}-{place}",
            "interaction_id": f"int-{name}-{turn}",
            "conversation_id": name,
            "user_id": user,
            "turn": turn,
            "within_turn_id": place,
            "conversation_type": "unguided",
            "included_in_balanced_subset": balanced,
            "user_prompt": f"question {turn} in {name}",
            "model_response": f"answer {place} to {turn} in {name}",
            "model_name": "m",
            "model_provider": "p",
            "score": 90 - 20 * place,
            "if_chosen": place == 0,
        }
        for turn in range(turns)
        for place in range(4 if turn == 0 else 2)
    ]


def prism(users: int, *, conversations: int = 4) -> list[Row]:
    """Users with conversations of two turns each."""
    return [
        row
        for user in range(users)
        for number in range(conversations)
        for row in conversation(f"user{user}", number)
    ]


def survey(user: str, **answers: Any) -> Row:
    """A row of PRISM's survey."""
    return {
        "user_id": user,
        "survey_only": False,
        "num_completed_conversations": 6,
        "lm_familiarity": "Somewhat familiar",
        "lm_frequency_use": "Once per month",
        "self_description": "I value honesty.",
        "system_string": "Be brief.",
        "age": "25-34 years old",
        "gender": "Female",
        "employment_status": "Working full-time",
        "education": "University Bachelors Degree",
        "marital_status": "Never been married",
        "english_proficiency": "Fluent",
        "religion": {"self_described": "none", "categorised": "x", "simplified": "No Affiliation"},
        "ethnicity": {"self_described": "white", "categorised": "White", "simplified": "White"},
        "location": {"birth_country": "Chile", "reside_country": "Spain"},
        "stated_prefs": {
            "values": 50,
            "creativity": 10,
            "fluency": 91,
            "factuality": 100,
            "diversity": 20,
            "safety": 95,
            "personalisation": 30,
            "helpfulness": 40,
            "other": 99,
            "other_text": None,
        },
    } | answers


def judgements(users: int, prompts: int) -> list[Row]:
    """Every user judges one pair a prompt; both orders agree on A for half the users."""
    return [
        {
            "user_id": f"user{user}",
            "prompt": f"prompt {prompt}",
            "response_a": f"a of {prompt}",
            "response_b": f"b of {prompt}",
            "a_first": float((user + prompt) % 2),
            "b_first": float((user + prompt) % 2),
        }
        for user in range(users)
        for prompt in range(prompts)
    ]


def write_parquet(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_jsonl(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path

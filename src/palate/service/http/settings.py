"""What a worker is told when it starts: one frozen object, handed on as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from palate.errors import SettingsError

#: The environment variable by which workers find the settings.
VARIABLE = "PALATE_SERVE"


@dataclass(frozen=True)
class ServeSettings:
    """How the service runs.

    run: the model's folder. models: the folder whose models may be rolled over to; the run's own
    parent where empty. upstream: "echo", "small", or a URL up to and with the version, whose key is
    in the environment variable `upstream_key_env`. database: see `Store.open`. cache: of features.
    half_life: seconds after which an answer counts half. retention: seconds after which answers go.

    candidates: asked of the upstream where a request does not say (`best_of`). deadline: seconds
    for any request; scoring: for choosing among candidates, after which the plain answer is given.
    most_bytes: of a request. most_texts: documents or responses of one. most_requests: under way in
    one worker. threads: that read, score and write.
    """

    run: str
    models: str = ""
    upstream: str = "echo"
    upstream_key_env: str = "PALATE_UPSTREAM_KEY"
    database: str = "sqlite:///palate.db"
    cache: str | None = None
    half_life: float | None = None
    retention: float | None = None
    candidates: int = 4
    most_candidates: int = 16
    deadline: float = 60.0
    scoring: float = 5.0
    most_bytes: int = 2**20
    most_texts: int = 1000
    most_requests: int = 256
    threads: int = 16

    def __post_init__(self) -> None:
        for name in ("deadline", "scoring", "half_life", "retention"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} is {value}; expected seconds above 0")
        for name in ("candidates", "most_bytes", "most_texts", "most_requests", "threads"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not self.candidates <= self.most_candidates:
            raise SettingsError(
                f"candidates is {self.candidates}; expected at most {self.most_candidates}"
            )

    def in_environment(self) -> dict[str, str]:
        """The variable that workers read."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> ServeSettings:
        """From the variable; raises `SettingsError` where there is none."""
        if VARIABLE not in environment:
            raise SettingsError(f"{VARIABLE} is not set; start the service by `palate serve RUN`")
        return cls(**json.loads(environment[VARIABLE]))

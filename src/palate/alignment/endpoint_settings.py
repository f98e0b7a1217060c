"""Which endpoint is asked, how patiently, and the client that asks it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from palate.errors import PolicyError, SettingsError

if TYPE_CHECKING:
    from openai import OpenAI

#: Where a key is looked for. OpenAI's own variable is read for OpenAI's own address alone.
KEY_VARIABLE = "PALATE_UPSTREAM_KEY"
OPENAI_HOST, OPENAI_KEY_VARIABLE = "api.openai.com", "OPENAI_API_KEY"
#: What a request says itself and `parameters` may therefore not.
OWN = ("messages", "model", "max_tokens", "max_completion_tokens", "stream", "user")


@dataclass(frozen=True)
class EndpointSettings:
    """Which model is asked, and how patiently.

    url: up to and with the version, as in http://127.0.0.1:8000/v1. concurrency: requests under way
    at once. tries: sendings of one request. deadline: seconds for one request, waits and tries
    included; patience: for one try. limit: what the endpoint calls the limit of tokens; None is
    max_completion_tokens at OpenAI's own address and max_tokens elsewhere. parameters: more of a
    request's fields, such as reasoning_effort; temperature, seed and n may be None, which leaves
    them out.
    """

    url: str
    model: str
    concurrency: int = 8
    tries: int = 5
    deadline: float = 600.0
    patience: float = 120.0
    limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_url(self.url)
        if not self.model.strip():
            raise SettingsError("model is empty; expected the name that the endpoint knows it by")
        if self.concurrency < 1 or self.tries < 1:
            raise SettingsError(
                f"concurrency is {self.concurrency}, tries {self.tries}; expected 1 or more"
            )
        for name in ("deadline", "patience"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise SettingsError(f"{name} is {getattr(self, name)}; expected seconds above 0")
        if taken := sorted(set(self.parameters) & set(OWN)):
            raise SettingsError(
                f"parameters hold {', '.join(taken)}, which requests say themselves"
            )
        if self.parameters.get("n", None) is not None:
            raise SettingsError("parameters hold n, which requests say themselves; None omits it")

    @property
    def is_openai(self) -> bool:
        """Whether the address is OpenAI's own, for which alone its variables are read."""
        return urlsplit(self.url).hostname == OPENAI_HOST

    @property
    def limit_name(self) -> str:
        """The field of a request that limits its tokens."""
        return self.limit or ("max_completion_tokens" if self.is_openai else "max_tokens")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise SettingsError(f"url is {url!r}; expected one as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:
        raise SettingsError(f"the url holds a key or a query; set {KEY_VARIABLE} instead")


def client(settings: EndpointSettings, key: str | None) -> OpenAI:
    """A client that never retries by itself; its key is the one given, or the environment's."""
    try:
        from openai import OpenAI
    except ImportError as error:
        raise PolicyError("endpoints need a client: pip install 'palate[align]'") from error
    variables = [KEY_VARIABLE, *([OPENAI_KEY_VARIABLE] if settings.is_openai else [])]
    keys = [key, *map(os.environ.get, variables), "none"]
    made = OpenAI(base_url=settings.url, api_key=next(one for one in keys if one), max_retries=0)
    if not settings.is_openai:  # it has read OpenAI's variables, which are nobody else's business
        made.organization = made.project = None
    return made

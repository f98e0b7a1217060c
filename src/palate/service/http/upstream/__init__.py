"""Where candidates come from: a language model behind a URL, or one that is embedded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from palate.service.http.upstream.base import Answered, Candidate, Upstream

if TYPE_CHECKING:
    from palate.service.http.settings import ServeSettings

__all__ = ["Answered", "Candidate", "Upstream", "upstream_of"]


def upstream_of(settings: ServeSettings) -> Upstream:
    """The upstream that is named; raises `SettingsError` for a URL that is none."""
    if settings.upstream == "echo":
        from palate.service.http.upstream.echo import Echo

        return Echo()
    if settings.upstream == "small":
        from palate.service.http.upstream.small import Small

        return Small(settings.cache)
    from palate.service.http.upstream.remote import Remote

    return Remote(settings.upstream, os.environ.get(settings.upstream_key_env))

"""A client of the service, for programs that wait and for those that do not.

Chat completions need no client of ours: OpenAI's, with the service's address, does.
"""

from palate.client.answers import (
    Answer,
    Erased,
    Feedback,
    Question,
    Questions,
    Reranked,
    Scored,
    User,
    Withdrawn,
)
from palate.client.asynchronous import AsyncPalate
from palate.client.errors import ServiceError
from palate.client.synchronous import Palate

__all__ = [
    "Answer",
    "AsyncPalate",
    "Erased",
    "Feedback",
    "Palate",
    "Question",
    "Questions",
    "Reranked",
    "Scored",
    "ServiceError",
    "User",
    "Withdrawn",
]

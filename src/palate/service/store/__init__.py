"""What the service keeps: tenants and keys, users' answers, what was served, posteriors."""

from palate.service.store.completions import Completion
from palate.service.store.entries import Entry, NewAnswer
from palate.service.store.errors import (
    Conflict,
    InvalidEntry,
    NotFound,
    QuotaReached,
    Refused,
    StoreUnavailable,
)
from palate.service.store.keys import SCOPES, ApiKey
from palate.service.store.store import Store
from palate.service.store.tenants import Tenant

__all__ = [
    "SCOPES",
    "ApiKey",
    "Completion",
    "Conflict",
    "Entry",
    "InvalidEntry",
    "NewAnswer",
    "NotFound",
    "QuotaReached",
    "Refused",
    "Store",
    "StoreUnavailable",
    "Tenant",
]

"""On whose behalf entries are used: a principal in a context variable, compared with the key (C66)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from cachewright.errors import IsolationError
from cachewright.runtime.naming import Name, identity

_current: ContextVar[Principal | None] = ContextVar("cachewright_principal", default=None)


@dataclass(frozen=True, slots=True)
class Principal:
    """A tenant and a user, as their ids stand in keys; None where there is none."""

    tenant: str | None = None
    user: str | None = None


@contextmanager
def principal(
    *, tenant: str | int | UUID | None = None, user: str | int | UUID | None = None
) -> Iterator[Principal]:
    """Within the block, entries are used on behalf of this tenant and user.

    It holds for what the block awaits and for the tasks and threads it starts, and replaces whatever held
    around it. Raises `UsageError` for an empty id.
    """
    own = Principal(
        None if tenant is None else identity(tenant, "tenant"),
        None if user is None else identity(user, "user"),
    )
    before = _current.set(own)
    try:
        yield own
    finally:
        _current.reset(before)


def current_principal() -> Principal | None:
    """On whose behalf this code runs, None where nobody said so."""
    return _current.get()


def refuse_foreign(name: Name) -> None:
    """Raise `IsolationError` where the key names a tenant or user and the principal is another, or nobody."""
    if name.tenant is None and name.user is None:
        return
    own = _current.get()
    if own is None:
        raise IsolationError(
            "the key names a tenant or user, and nobody is named here",
            hint="enter `with cachewright.principal(tenant=…, user=…)` where the caller is known",
        )
    for what, named, known in (("tenant", name.tenant, own.tenant), ("user", name.user, own.user)):
        if named is not None and named != known:
            raise IsolationError(
                f"the key names another {what} than the one this code runs for",
                hint="read what belongs to nobody in particular under a key without a leading "
                f"`{what}:` segment",
            )

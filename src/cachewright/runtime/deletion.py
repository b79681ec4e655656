"""Deleting a tenant or a user: what is theirs becomes unreachable at once, and is removed where that is asked.

Unreachable is one changed tag. Removal searches the server (SCAN, then UNLINK of what begins with exactly that
tenant or user), so the account of the application needs `+scan` beside the commands of the protocol.
"""

from __future__ import annotations

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.engine import Engine
from cachewright.runtime.naming import Name, identity, name_of


def of_tenant(tenant: object) -> Name:
    """Everything of this tenant. Raises `UsageError` where that is no id."""
    return name_of(f"tenant:{identity(tenant, 'tenant')}")


def of_user(user: object, tenant: object | None) -> Name:
    """Everything of this user, of one tenant where it is given. Raises `UsageError` where that is no id."""
    own = f"user:{identity(user, 'user')}"
    return name_of(own if tenant is None else f"tenant:{identity(tenant, 'tenant')}:{own}")


async def erase(engine: Engine, key: str) -> int:
    """Remove from the store what belongs to `key` and below it; how many keys that were.

    Raises `StoreUnavailableError` where the store did not answer: then some may be left.
    """
    if not engine.shared:
        return 0
    if engine.store is None:
        raise StoreUnavailableError("the store was not started", hint="nothing was removed; try again later")
    return await engine.store.erase(key)

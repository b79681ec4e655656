"""Who shares what: where identities come from, and how tenants and users are kept apart."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from cachewright.spec.section import Ext, Flag, Section, Shape, Writes

DeleteAction = Literal["invalidate_all", "delete_keys"]

IdentitySource = Annotated[
    str,
    Shape(
        r"dependency:[A-Za-z_]\w*(?:[.:][A-Za-z_]\w*)+|claim:\S+|header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|host",
        "`dependency:module.function.attribute`, `claim:NAME`, `header:NAME` or `host`",
    ),
]


class Identity(Section):
    """Where the ids of scopes come from. Nothing is inferred: what is not named here is not known."""

    writes: ClassVar[Writes] = "changed"

    user: Ext[IdentitySource | None] = None
    """A dependency's attribute, an accepted token's claim, a trusted proxy's header, or the Host."""
    tenant: Ext[IdentitySource | None] = None
    """The same for the tenant; never inferred, only declared."""


class OnTenantDelete(Section):
    """What happens when a tenant is deleted."""

    action: DeleteAction = "invalidate_all"
    """invalidate_all makes the tenant's entries unreachable, delete_keys removes them (C59)."""


class OnUserDelete(Section):
    """What happens when a user is deleted."""

    action: DeleteAction = "invalidate_all"
    """invalidate_all makes the user's entries unreachable, delete_keys removes them (C59)."""


class MultiTenant(Section):
    """Tenants of one application."""

    enabled: Flag = False
    """Whether every key holds the tenant, unless its target is public (C25)."""
    key_prefix: Annotated[str, Shape(r".*\{tenant_id\}.*", "a prefix with `{tenant_id}`")] = (
        "tenant:{tenant_id}:"
    )
    """The prefix of keys; added once, before the user's (C67)."""
    isolation: Flag = True
    """Whether the tenant of a request is compared with the key's."""
    on_tenant_delete: OnTenantDelete = OnTenantDelete()
    """What happens when a tenant is deleted."""


class MultiUser(Section):
    """Users of one application."""

    enabled: Flag = False
    """Whether keys of users' data hold the user."""
    key_prefix: Annotated[str, Shape(r".*\{user_id\}.*", "a prefix with `{user_id}`")] = "user:{user_id}:"
    """The prefix of keys; added once, after the tenant's (C67)."""
    isolation: Flag = True
    """Whether the user of a request is compared with the key's."""
    on_user_delete: OnUserDelete = OnUserDelete()
    """What happens when a user is deleted."""

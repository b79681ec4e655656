"""What answers say of the cache, and the CDN in front of it: all of it off until it is switched on."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from cachewright.spec.section import Ext, Flag, Section, Shape, VariableName, Writes

TagHeader = Literal["Surrogate-Key", "Cache-Tag", "xkey"]
PurgeMethod = Literal["PURGE", "BAN", "POST"]

PurgeUrl = Annotated[str, Shape(r"https?://[^\s/@]+(?:/\S*)?", "an http or https URL without a password")]


class Http(Section):
    """Headers of the cache's own, and what it makes of the request's."""

    writes: ClassVar[Writes] = "changed"

    etag: Ext[Flag] = False
    """Whether answers without a validator get an `ETag`, and `If-None-Match` is answered with 304."""
    age: Ext[Flag] = False
    """Whether hits tell their `Age` (RFC 9111 §5.1)."""
    cache_status: Ext[Flag] = False
    """Whether answers tell what became of them in `Cache-Status` (RFC 9211)."""
    request_no_cache: Ext[Literal["ignore", "reload"]] = "ignore"
    """What `Cache-Control: no-cache` or `max-age=0` in a request does: nothing, or a load by the application."""


class Cdn(Section):
    """Level l4, a shared cache in front of the service; only public targets are for it."""

    writes: ClassVar[Writes] = "changed"

    tag_header: Ext[TagHeader] = "Surrogate-Key"
    """The header in which answers carry digests of their tags."""
    purge_url: Ext[PurgeUrl | None] = None
    """Where invalidated tags are told to; null: answers leave the CDN by their lifetime alone."""
    purge_method: Ext[PurgeMethod] = "PURGE"
    """The method of that request; it carries the digests in `tag_header`."""
    token_env_var: Ext[VariableName | None] = None
    """The variable that holds the bearer token of purge requests."""

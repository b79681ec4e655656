"""Looking at a Redis before it is needed, and writing its address without its password."""

from __future__ import annotations

from urllib.parse import urlsplit

import typer

from cachewright.errors import SurroundingsError

ANSWER_SECONDS = 1.0


def why_unreachable(url: str) -> str | None:
    """Why nobody at `url` answers a PING within a second; None when somebody does.

    Of a cluster, or of the sentinels of a service, one is enough. Raises `typer.BadParameter` for a text that is
    no address of a Redis.
    """
    from cachewright.runtime.stores.connecting import locate

    try:
        place = locate(url)
        match place.kind:
            case "cluster":
                urls = [place.url(*address) for address in place.addresses]
            case "sentinel":
                urls = [place.sentinel_url(*address) for address in place.addresses]
            case _:
                urls = [place.plain]
        reasons = [_why_silent(one) for one in urls]
    except (SurroundingsError, ValueError) as error:
        raise typer.BadParameter(
            f"{shown(url)!r} is not a Redis URL: {error}", param_hint="--redis"
        ) from None
    return None if None in reasons else reasons[0]


def _why_silent(url: str) -> str | None:
    import redis

    client = redis.Redis.from_url(url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS)
    try:
        client.ping()
    except redis.RedisError as error:
        return str(error).rstrip(".")
    finally:
        client.close()
    return None


def warn_if_unreachable(url: str | None) -> None:
    """Say on stderr that the Redis at `url`, if there is one, does not answer; serving starts anyway."""
    if url and (reason := why_unreachable(url)):
        from cachewright.cli.output import say

        say(f"warning: {shown(url)} does not answer ({reason}); serving without it until it does")


def shown(url: str) -> str:
    """`url` without user name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

"""Looking at a Redis before it is needed, and writing its address without its password."""

from __future__ import annotations

from urllib.parse import urlsplit

import typer

ANSWER_SECONDS = 1.0


def why_unreachable(url: str) -> str | None:
    """Why the server at `url` does not answer a PING within a second; None when it does.

    Raises `typer.BadParameter` for a text that is no address of a Redis.
    """
    import redis

    try:
        client = redis.Redis.from_url(
            url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS
        )
    except ValueError as error:
        raise typer.BadParameter(
            f"{shown(url)!r} is not a Redis URL: {error}", param_hint="--redis"
        ) from None
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

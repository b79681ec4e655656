"""Rules about who may see what: scopes, identities, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cachewright.checks.findings import Path, Problem
from cachewright.checks.keys import fields_of
from cachewright.checks.subject import Subject
from cachewright.simulator.lookups import Lookup
from cachewright.spec.identity import carried
from cachewright.spec.semantics import Scope
from cachewright.spec.sensitive import secret_words, sensitive_words, session_words

_IDS = frozenset({"user_id", "tenant_id", "cred"})
_FORBIDDEN = 403
_SECRETS = (
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "a JSON Web Token"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "an access key of AWS"),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}"), "a token of GitHub"),
    (re.compile(r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}"), "a key of Stripe"),
    (re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"), "a token of Slack"),
    (
        re.compile(r"(?i)\b(?:password|passwd|pwd|secret|token|api[-_]?key)\s*[=:]\s*[^\s{}$<>]{6,}"),
        "a secret",
    ),
    (re.compile(r"(?i)\bbearer\s+[\w.~+/-]{16,}"), "a bearer token"),
)


def public_with_credentials(subject: Subject) -> Iterator[Problem]:
    """A public target reads who is asking.

    ## What it does
    Looks whether a target of scope `public` names somebody in its key or tags (`{user_id}`, `{claim.role}`), and
    whether its route declares a security scheme or read a credential in the trace. Routes need `--app`,
    `--openapi` or `--trace`.

    ## Why
    A public entry is served to everybody, and nobody proves who they are: a claim of a forged token would do.
    What reads a credential usually answers differently to different people, or refuses some of them.

    ## Example
    ```yaml
    - endpoint: GET /me
      scope: public
      cache_key_pattern: me
    ```

    ## Fix
    Use scope `user` or `credential`; keep `public` only for what everybody may see.
    """
    for view, target in subject.ready():
        if target.scope is not Scope.PUBLIC:
            continue
        named = [f"{{{name}}}" for name in fields_of(target) if name in _IDS or name.startswith("claim.")]
        if named:
            words = f"{target.name} is public, but its key or tags name {', '.join(named)}"
            yield Problem(view.at("scope"), words)
            continue
        route = subject.route_of(view)
        read = set(route.credentials) if route else set()
        for lookup in subject.lookups_of(target):
            read |= carried(lookup.request.reads | lookup.request.outer_reads)
        if read:
            listed = ", ".join(sorted(name.replace(":", " ", 1) for name in read))
            yield Problem(view.at("scope"), f"{target.name} is public, but reads {listed}")


def sensitive_target(subject: Subject) -> Iterator[Problem]:
    """A target answers logins, tokens or passwords, or has them in its key.

    ## What it does
    Looks for words such as `login`, `token` or `password` in the path of an endpoint and in the names of the
    fields of its key.

    ## Why
    Answers to such requests must not be kept, and what stands in a key stands in logs, dumps and monitors.

    ## Example
    ```yaml
    - endpoint: GET /auth/token
      cache_key_pattern: "token:{query.api_key}"
    ```

    ## Fix
    Do not cache it. To share an entry among the requests of one credential use scope `credential`, which puts
    a keyed hash into the key.
    """
    for view, target in subject.ready():
        parts = [part for part in view.place[1].split("/") if "{" not in part]
        found = [part for part in parts if sensitive_words(part)]
        private = target.scope is not Scope.PUBLIC  # those of a conference are for everybody
        doubtful = [part for part in parts if private and session_words(part)]
        if found:
            words = f"{target.name} is about {', '.join(found)}: it must not be cached"
            yield Problem(view.at("endpoint"), words)
        elif doubtful:
            words = f"{target.name} is about {', '.join(doubtful)}: sessions of logins must not be cached"
            yield Problem(view.at("endpoint"), words, "warning")
        named = [name for name in fields_of(target) if secret_words(name.partition(".")[2])]
        named = [name for name in named if not name.startswith("claim.")]
        if named:
            yield Problem(
                view.at("cache_key_pattern"), f"{target.name} has {', '.join(named)} in its key or tags"
            )


def secret_in_the_file(subject: Subject) -> Iterator[Problem]:
    """A value in the file looks like a secret.

    ## What it does
    Looks for tokens, private keys and `password=…` in every text of the specification.

    ## Why
    A specification is kept in version control and read by many. Secrets belong in the environment.

    ## Example
    ```yaml
    x-note: "token=f3a9c17be2d04a55"
    ```

    ## Fix
    Remove it and change the secret, for it has been seen; name an environment variable instead.
    """
    for path, text in _texts(subject.spec.model_dump(), ()):
        kind = next((words for pattern, words in _SECRETS if pattern.search(text)), None)
        if kind is not None:
            yield Problem(path, f"this looks like {kind}")


def scope_without_identity(subject: Subject) -> Iterator[Problem]:
    """A target is shared by user or tenant, but nothing says who that is.

    ## What it does
    Looks whether `identity.user` is given where a target has scope `user`, `identity.tenant` for `tenant`.

    ## Why
    Identity is never guessed. Without it every request of the target bypasses the cache.

    ## Example
    ```yaml
    cache_targets:
    - {endpoint: GET /tasks, scope: user, cache_key_pattern: "user:{user_id}:tasks"}
    ```

    ## Fix
    Say where the id stands: `identity: {user: "claim:sub"}`; or use scope `credential`.
    """
    identity = subject.spec.identity
    sources = {Scope.USER: ("user", identity.user), Scope.TENANT: ("tenant", identity.tenant)}
    for view, target in subject.ready():
        name, source = sources.get(target.scope, ("", "none"))
        if source is None:
            yield Problem(
                view.at("scope"), f"{target.name} has scope {target.scope}, but identity.{name} is not given"
            )


def object_decides(subject: Subject) -> Iterator[Problem]:
    """Access depends on the object, though the target says that it does not.

    ## What it does
    Looks for credentials that were refused (403) for one key of a target with `authorization: target` and answered
    for another one of the same scope. Where they were answered again after that it is an error, else a warning:
    a right may have been taken away. Needs `--trace`.

    ## Why
    Whoever was accepted for one object is served the others of the same scope without the application being
    asked: also those that it would refuse.

    ## Example
    ```yaml
    - endpoint: GET /projects/{id}      # members only
      scope: tenant
      authorization: target
    ```

    ## Fix
    Write `authorization: object`, which asks the application once for each credential and key.
    """
    for view, target in subject.ready():
        lookups = [lookup for lookup in subject.lookups_of(target) if lookup.ground is not None]
        answered = {(*_accepted_as(lookup), lookup.key): lookup.at for lookup in lookups if _answered(lookup)}
        last: dict[tuple[Any, ...], int] = {}
        for (*ground, _), at in answered.items():
            last[tuple(ground)] = max(at, last.get(tuple(ground), at))
        refused = [
            lookup
            for lookup in lookups
            if lookup.facts.status == _FORBIDDEN
            and _accepted_as(lookup) in last
            and (*_accepted_as(lookup), lookup.key) not in answered
        ]
        if refused:
            again = any(last[_accepted_as(lookup)] > lookup.at for lookup in refused)
            credentials = len({lookup.request.credential for lookup in refused})
            words = (
                f"{target.name}: {credentials} credentials were refused single objects and answered others"
            )
            yield Problem(view.at("authorization"), words, None if again else "warning")


def _accepted_as(lookup: Lookup) -> tuple[Any, ...]:
    return (lookup.request.credential, lookup.ground)


def _answered(lookup: Lookup) -> bool:
    return 200 <= lookup.facts.status < 300


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, name))
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))

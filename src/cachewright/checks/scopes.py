"""Rules about scopes that are only half said: no scope at all, ids that keys lack, answers that hold secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cachewright.checks.findings import Fix, Problem
from cachewright.checks.shapes import parsed_pattern
from cachewright.checks.subject import Subject
from cachewright.spec.conditions import Condition, ConditionError
from cachewright.spec.edit import Put
from cachewright.spec.keys import KeyTemplate
from cachewright.spec.target import target_name

_IDS = frozenset({"user_id", "tenant_id", "cred"})
_KEYS_WITH_IDS = ("resource", "query_result")
_SECRET_MEMBER = re.compile(
    r"(?:^|[_-])(?:password|passwd|pwd|hashed_password|password_hash|secret|client_secret|access_token|"
    r"refresh_token|id_token|api_?key|private_?key|otp|totp|mfa_secret|csrf_token|session_token)"
    r"(?:$|[_-](?:hash|digest|salt)$)",
    re.IGNORECASE,
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def id_missing_under_isolation(subject: Subject) -> Iterator[Problem]:
    """Isolation is asked for, but a key does not hold the id it isolates by.

    ## What it does
    Where `multi_tenant` is enabled: looks for keys of targets that are not public and lack `{tenant_id}`, which is
    added by itself only where `identity.tenant` is given. Looks for queries and computed values of scope `user` or
    `tenant` without that id in their key, and for `cache_keys` that say `includes_user_id` or
    `includes_tenant_id` of a pattern that has none.

    ## Why
    One tenant, or user, would receive the entries of another.

    ## Example
    ```yaml
    multi_tenant: {enabled: true}
    cache_targets: [{endpoint: GET /tasks, scope: user, cache_key_pattern: "user:{user_id}:tasks"}]
    ```

    ## Fix
    Say where the tenant stands: `identity: {tenant: "claim:tid"}`; or write it into the key:
    `tenant:{tenant_id}:user:{user_id}:tasks`.
    """
    yield from _tenants_apart(subject)
    yield from _other_kinds(subject)
    for name in _KEYS_WITH_IDS:
        keys = getattr(subject.spec.cache_keys, name)
        for field, promised in (
            ("user_id", keys.includes_user_id),
            ("tenant_id", keys.includes_tenant_id),
        ):
            if promised and f"{{{field}}}" not in (keys.pattern or ""):
                yield Problem(
                    ("cache_keys", name, f"includes_{field}"),
                    f"cache_keys.{name} says includes_{field}, but its pattern has no {{{field}}}",
                )


def _tenants_apart(subject: Subject) -> Iterator[Problem]:
    if not (subject.spec.multi_tenant.enabled and subject.spec.multi_tenant.isolation):
        return
    for view in subject.targets:
        key = view.ready.key if view.ready is not None else parsed_pattern(subject, view.item)
        if view.item.scope != "public" and key is not None and "tenant_id" not in key.fields:
            words = "multi_tenant is enabled, but the key has no {tenant_id} and identity.tenant is not given"
            yield Problem(view.at("cache_key_pattern"), f"{target_name(view.item)}: {words}")


def _other_kinds(subject: Subject) -> Iterator[Problem]:
    fields = {"user": "user_id", "tenant": "tenant_id"}
    for view in subject.targets:
        field = fields.get(view.item.scope or "")
        if view.item.endpoint is not None or field is None:
            continue
        key = parsed_pattern(subject, view.item)
        if key is not None and field not in key.fields:
            words = f"its scope is {view.item.scope}, but its key has no {{{field}}}"
            yield Problem(view.at("cache_key_pattern"), f"{target_name(view.item)}: {words}")


def undeclared_scope(subject: Subject) -> Iterator[Problem]:
    """A target does not say who may share its entries.

    ## What it does
    Looks for endpoints without `scope`. It is a warning where the key names nobody, as if it were public, and for
    information where it does. With `--fix` it writes down `scope: credential`, which is what applies.

    ## Why
    Without a word each credential has entries of its own: safe, but nothing is shared. `public` is never assumed.

    ## Example
    ```yaml
    - {endpoint: GET /plans, cache_key_pattern: plans}
    ```

    ## Fix
    Write `scope: public` where everybody may see it, else `user`, `tenant` or `credential`.
    """
    for view, target in subject.ready():
        if view.item.scope is not None:
            continue
        named = not _IDS.isdisjoint(_written(subject.spec.key_pattern_of(view.item)))
        yield Problem(
            view.at(),
            f"{target.name} does not say its scope; each credential has entries of its own",
            "info" if named else None,
            Fix("write scope: credential, which applies already", (Put(view.at("scope"), "credential"),)),
        )


def _written(pattern: str | None) -> tuple[str, ...]:
    return KeyTemplate.parse(pattern).fields if pattern else ()


def secret_in_answers(subject: Subject) -> Iterator[Problem]:
    """What a target keeps has passwords, tokens or keys in it.

    ## What it does
    Looks for members such as `password_hash` or `access_token` in the answers that the application's OpenAPI
    document declares for an endpoint, and for such columns in the text of a query. Answers need `--app` or
    `--openapi`.

    ## Why
    What is cached lies in memory, on servers and in their dumps, longer than the request that needed it.

    ## Example
    ```yaml
    - {database_query: "SELECT id, password_hash FROM users WHERE id = :id", cache_key_pattern: "user:{id}"}
    ```

    ## Fix
    Do not cache it, or leave the field out of what is answered or selected.
    """
    for view in subject.targets:
        route = subject.route_of(view) if view.item.endpoint is not None else None
        names = route.answers if route else frozenset(_WORD.findall(view.item.database_query or ""))
        secret = sorted(name for name in names if _SECRET_MEMBER.search(_HUMP.sub("_", name)))
        if secret:
            place = "endpoint" if view.item.endpoint is not None else "database_query"
            yield Problem(view.at(place), f"{target_name(view.item)} keeps {', '.join(secret)}")


def edge_without_identity(subject: Subject) -> Iterator[Problem]:
    """An interceptor stands where nobody knows yet who is asking.

    ## What it does
    Looks for interceptors of type `middleware` on targets of scope `user` or `tenant` whose identity is a
    `dependency:`, which runs behind them; for endpoints of interceptors that are no targets; and for skip
    conditions that cannot be understood.

    ## Why
    A middleware sees the request alone. Where that does not show who is asking, it can serve nobody.

    ## Example
    ```yaml
    identity: {user: "dependency:app.auth.current_user.id"}
    implementation: {cache_interceptor: [{name: Edge, type: middleware, endpoints: [GET /tasks]}]}
    ```

    ## Fix
    Name what the request shows (`claim:sub`, `header:x-user`), or use the type `dependency` for that route.
    """
    places = {view.place: view for view in subject.targets if view.item.endpoint is not None}
    for index, interceptor in enumerate(subject.spec.implementation.cache_interceptor):
        here = ("implementation", "cache_interceptor", index)
        for at, endpoint in enumerate(interceptor.endpoints):
            method, _, template = endpoint.strip().rpartition(" ")
            view = places.get(((method or "GET").upper(), template))
            if view is None:
                yield Problem((*here, "endpoints", at), f"{endpoint} is no target", "warning")
            elif interceptor.type == "middleware" and (hidden := _hidden_identity(subject, view.item.scope)):
                words = f"{endpoint} is intercepted before {hidden} has run: nobody is known there"
                yield Problem((*here, "endpoints", at), words)
        if interceptor.skip_condition is not None:
            try:
                Condition.parse(interceptor.skip_condition)
            except ConditionError as error:
                yield Problem((*here, "skip_condition"), str(error))


def _hidden_identity(subject: Subject, scope: str | None) -> str | None:
    source = {"user": subject.spec.identity.user, "tenant": subject.spec.identity.tenant}.get(scope or "")
    return source if source is not None and source.startswith("dependency:") else None

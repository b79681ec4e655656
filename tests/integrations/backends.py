"""What is known of the five backends: hand-written specifications, who asks, what is read and written."""

import json
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from uuid import uuid4

import jwt
from tests.apps import async_sqlmodel, header_lang, path_user, roles, traps
from tests.integrations.driving import patience

from cachewright.spec.document import Document, loads_spec

Headers = dict[str, str]


@dataclass(frozen=True)
class Backend:
    """`reads` can be asked by every identity; `unsteady` are routes that answer twice with two answers."""

    module: ModuleType
    targets: list[dict[str, Any]]
    identities: list[Headers]
    reads: list[str]
    writes: list[tuple[str, str, Any]]
    extra: dict[str, Any] = field(default_factory=dict)
    unsteady: frozenset[str] = frozenset()
    moving: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]


def document(backend: Backend, targets: list[dict[str, Any]] | None = None) -> Document:
    body = {
        "namespace": f"n{uuid4().hex}",
        "configuration": patience(5000),
        **backend.extra,
        "cache_targets": backend.targets if targets is None else targets,
    }
    return loads_spec(json.dumps({"caching_specification": body}))


def target(path: str, key: str, scope: str, *depends_on: str, **extra: Any) -> dict[str, Any]:
    return {
        "endpoint": f"GET {path}",
        "cache_key_pattern": key,
        "scope": scope,
        "levels": ["l1", "l2"],
        "depends_on": list(depends_on),
        **extra,
    }


def token_of(user: int, **claims: Any) -> str:
    payload = {"sub": str(user), "exp": path_user.FAR_FUTURE, **claims}
    return jwt.encode(payload, path_user.SIGNING_KEY, algorithm="HS256")


OWN_NOTES, OWN_USER = "notes(user_id={path.user_id})", "users(id={path.user_id})"
PATH_USER = Backend(
    module=path_user,
    extra={"identity": {"user": "claim:sub"}},
    targets=[
        target(
            "/users/{user_id}/notes",
            "user:{user_id}:notes:{path.user_id}:pinned={pinned}",
            "user",
            OWN_NOTES,
            OWN_USER,
        ),
        target(
            "/users/{user_id}/summary", "user:{user_id}:summary:{path.user_id}", "user", OWN_NOTES, OWN_USER
        ),
        target(
            "/users/{user_id}/notes/{note_id}",
            "user:{user_id}:note:{path.user_id}:{note_id}",
            "user",
            "notes(id={note_id},user_id={path.user_id})",
            OWN_USER,
        ),
    ],
    identities=[{"Authorization": f"Bearer {token_of(user)}"} for user in range(1, 5)]
    + [{"Authorization": f"Bearer {token_of(1, nonce='other')}"}, {}],
    reads=[
        url
        for user in range(1, 5)
        for url in (f"/users/{user}/notes", f"/users/{user}/notes?pinned=true", f"/users/{user}/summary")
    ]
    + [f"/users/{n % 4 + 1}/notes/{n}" for n in range(1, 9)],
    writes=[("POST", f"/users/{user}/notes", {"title": "load"}) for user in range(1, 5)]
    + [("PUT", f"/users/{n % 4 + 1}/notes/{n}", {"title": "load", "pinned": True}) for n in range(1, 9)],
)

ASYNC_SQLMODEL = Backend(
    module=async_sqlmodel,
    targets=[
        made
        for prefix in ("/v1", "/v2")
        for made in (
            target(f"{prefix}/me", f"{prefix[1:]}me", "credential", "person", "sessions"),
            target(
                f"{prefix}/items",
                f"{prefix[1:]}items:skip={{skip}}:limit={{limit}}",
                "credential",
                "person",
                "sessions",
                "item",
            ),
            target(
                f"{prefix}/items/search",
                f"{prefix[1:]}search:text={{text}}:done={{done}}:limit={{limit}}",
                "credential",
                "person",
                "sessions",
                "item",
            ),
            target(
                f"{prefix}/items/{{item_id}}",
                f"{prefix[1:]}item:{{item_id}}",
                "credential",
                "person",
                "sessions",
                "item(id={item_id})",
            ),
        )
    ],
    identities=[{"Authorization": f"Bearer {token}"} for token in async_sqlmodel.TOKENS]
    + [{}, {"Authorization": "Bearer nobody"}],
    reads=[
        f"{prefix}{url}"
        for prefix in ("/v1", "/v2")
        for url in (
            "/me",
            "/items",
            "/items?skip=10&limit=10",
            "/items/search?text=Item&done=false",
            "/items/1",
            "/items/2",
            "/items/3",
        )
    ],
    writes=[("POST", "/v1/items", {"title": "load"})]
    + [("PATCH", f"/v2/items/{n}", {"title": "load", "rank": n}) for n in range(1, 9)],
)

LANGUAGE = "header.accept-language"
HEADER_LANG = Backend(
    module=header_lang,
    targets=[
        target(
            "/products",
            f"products:{{{LANGUAGE}}}:category={{category}}:page={{page}}:size={{size}}",
            "public",
            "products",
            "product_names",
        ),
        target(
            "/products/{product_id}",
            f"product:{{product_id}}:{{{LANGUAGE}}}",
            "public",
            "products(id={product_id})",
            "product_names(product_id={product_id})",
            "product_names",
        ),
        target("/categories", "categories", "public", "products"),
        target("/products/{product_id}/visit", "visit:{product_id}", "public", "product_views"),
        target(
            "/visitors/{visitor}/preferences",
            "preferences:{visitor}",
            "public",
            "preferences(visitor={visitor})",
        ),
        target(
            "/backoffice/products/{product_id}",
            f"office:{{product_id}}:{{{LANGUAGE}}}",
            "public",
            "products(id={product_id})",
            "product_names",
        ),
        target("/backoffice/value", "value", "public", "products"),
    ],
    identities=[{"Accept-Language": text} for text in ("en", "de-DE,de;q=0.9", "fr", "ja")],
    reads=[
        "/products",
        "/products?category=books",
        "/products?size=10&page=2",
        "/categories",
        "/backoffice/value",
        "/visitors/v1/preferences",
        "/visitors/v2/preferences",
        "/products/1/visit",
        *(f"/products/{n}" for n in range(1, 5)),
        *(f"/backoffice/products/{n}" for n in range(1, 4)),
    ],
    unsteady=frozenset({"GET /products/{product_id}/visit"}),
    moving=("/visit",),
    writes=[("PUT", f"/backoffice/products/{n}/price", {"price": 1000 + n}) for n in range(1, 5)]
    + [("PUT", "/visitors/v1/preferences", {"currency": "CHF"})],
)

_UNINTERESTING = ["header:x-request-id", "header:user-agent"]
ROLES = Backend(
    module=roles,
    targets=[
        target(path, key, "credential", *tags, ignored_reads=_UNINTERESTING)
        for path, key, tags in (
            ("/documents", "documents:limit={limit}", ("documents", "accounts", "web_sessions")),
            ("/documents/count", "count", ("documents", "accounts", "web_sessions")),
            (
                "/documents/{document_id}",
                "document:{document_id}",
                ("documents(id={document_id})", "accounts", "web_sessions"),
            ),
            ("/accounts", "accounts", ("accounts", "web_sessions")),
            ("/me", "me", ("accounts", "web_sessions")),
        )
    ],
    identities=[{"Cookie": f"sid={sid}"} for sid in roles.SIDS] + [{}, {"Cookie": "sid=forged"}],
    reads=[
        "/documents",
        "/documents?limit=5",
        "/documents/count",
        "/accounts",
        "/me",
        *(f"/documents/{n}" for n in range(1, 7)),
    ],
    writes=[
        ("POST", "/documents", {"title": "load", "body": "b"}),
        ("PUT", "/accounts/4/role", {"role": "member"}),
        ("PUT", "/accounts/4/role", {"role": "auditor"}),
        *(("PUT", f"/documents/{n}", {"title": "load", "body": "b" * n}) for n in range(1, 7)),
    ],
)

TRAPS = Backend(
    module=traps,
    targets=[
        target("/my/items", "items:closed={closed}", "credential", "users", "items", "item_labels", "labels"),
        target(
            "/my/items/{item_id}",
            "item:{item_id}",
            "credential",
            "users",
            "items(id={item_id})",
            "item_labels(item_id={item_id})",
            "item_labels",
            "labels",
        ),
        target(
            "/my/labels/{label_id}/items",
            "labelled:{label_id}",
            "credential",
            "users",
            "items",
            "item_labels(label_id={label_id})",
        ),
        target("/my/shelves", "shelves", "credential", "users", "shelves", "items"),
        target("/my/settings", "settings", "credential", "users", "settings"),
        target("/my/report", "report", "credential", "users", "items"),
        target("/my/audit", "audit", "credential", "users", "audit"),
        target("/my/balance", "balance", "credential", "users", "items"),
        target("/my/welcome", "welcome", "credential", "users"),
        target("/export", "export", "public", "items"),
        {"endpoint": "GET /counter", "cache_key_pattern": "counter", "scope": "public", "levels": ["l1"]},
    ],
    identities=[{"X-API-Key": key} for key in traps.TOKENS] + [{}, {"X-API-Key": "nobody"}],
    reads=[
        "/my/items",
        "/my/items?closed=false",
        "/my/shelves",
        "/my/settings",
        "/my/audit",
        "/my/report",
        "/my/balance",
        "/my/welcome",
        *(f"/my/items/{n}" for n in range(1, 7)),
        *(f"/my/labels/{n}/items" for n in range(1, 4)),
    ],
    moving=("/report", "/audit", "/welcome"),
    unsteady=frozenset({"GET /my/report", "GET /my/audit", "GET /counter"}),
    writes=[
        ("POST", "/my/items/bulk-close?below=30", None),
        ("POST", "/my/items/reopen", None),
        ("POST", "/my/items/reprice", {"prices": {"1": 5, "2": 6}}),
        ("PUT", "/my/settings/theme", {"value": "dark"}),
        *(("PUT", f"/my/items/{n}/labels/{n % 6 + 1}", None) for n in range(1, 7)),
        *(("DELETE", f"/my/items/{n}/labels/{n % 6 + 1}", None) for n in range(1, 7)),
    ],
)

BACKENDS = [PATH_USER, ASYNC_SQLMODEL, HEADER_LANG, ROLES, TRAPS]

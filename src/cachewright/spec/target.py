"""A specification made ready to execute: parsed patterns, bound names, flat tags. Runtime and simulator share it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.errors import SpecError
from cachewright.spec import tags as t
from cachewright.spec.cache_targets import Authorization, CacheTarget
from cachewright.spec.conditions import Condition, ConditionError
from cachewright.spec.document import Document
from cachewright.spec.identity import covered
from cachewright.spec.keys import ANONYMOUS, KeyPatternError, KeyTemplate, UnboundFieldError
from cachewright.spec.learning import NOTHING, Learning
from cachewright.spec.model import CachingSpecification
from cachewright.spec.policies import policy_of
from cachewright.spec.semantics import Policy, Scope
from cachewright.spec.tags import ColumnSets, TagTemplate, TagTemplateError

Values = Mapping[str, Any]

#: Fields that may be absent from a request: absence is a value of its own (absent is not empty).
_OPTIONAL = ("query.", "header.", "cookie.")
_NAMED = ("query.", "path.", "header.", "cookie.", "claim.")
_TYPE_LEVELS: Mapping[str, tuple[str, ...]] = {"in_memory": ("l1",), "file": ("l3",)}
_OF_PRINCIPALS = (Scope.USER, Scope.TENANT)
_RETURNED = "dependency."
_SCOPE_FIELD = {Scope.USER: "user_id", Scope.TENANT: "tenant_id", Scope.CREDENTIAL: "cred"}


@dataclass(frozen=True, slots=True)
class Bound:
    """A target bound to one request: its logical key and the tags predicted for it."""

    key: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint to cache.

    `problem` says why the runtime must not serve it although it is specified (a scope without its key part);
    `keyed` are the parts of a request that key and scope account for, as capture names its reads.
    """

    name: str
    method: str
    template: str
    scope: Scope
    key: KeyTemplate
    depends_on: tuple[TagTemplate, ...]
    policy: Policy
    levels: tuple[str, ...]
    bypass: tuple[Condition, ...]
    ignored_reads: frozenset[str]
    max_staleness: float | None
    problem: str | None = None
    inside: bool = False
    percent: float = 100.0
    learning: Learning = NOTHING
    authorization: Authorization = "object"

    @property
    def endpoint(self) -> str:
        """Its method and path."""
        return f"{self.method} {self.template}"

    @property
    def declared(self) -> bool:
        """Whether the specification says what a load without SQL depends on, or how stale it may be."""
        return bool(self.depends_on) or self.max_staleness is not None

    @property
    def open_ended(self) -> bool:
        """Whether anybody can make up keys without end: a query parameter, header or cookie stands in them."""
        return any(field.startswith(_OPTIONAL) for field in self.key.fields)

    def unkeyed(
        self,
        identity: Mapping[str, str],
        *,
        declared: Collection[str],
        credentials: Collection[str],
        token: str | None,
        reads: Collection[str] = (),
        outer_reads: Collection[str] = (),
        vouched: Collection[str] = (),
    ) -> frozenset[str]:
        """What a load read of the request that neither key nor scope nor the specification accounts for.

        `identity` is the plan's; an id that the key lacks accounts for nothing. `declared` are the route's own
        parameters, `credentials` what its security schemes read, `token` where the token stood. `ignored_reads`
        speak of what middleware read before the route (`outer_reads`), never of the route's own `reads`. `vouched` is
        what the principal that a dependency returned accounts for.
        """
        own = {*reads, *declared, *credentials}
        outer = set(outer_reads) - self.ignored_reads
        sources = [source for name, source in identity.items() if name in self.key.fields]
        left = (own | outer) - self.keyed - covered(self.scope, sources, own | outer, credentials, token)
        if self.scope in _OF_PRINCIPALS and any(source.startswith(_RETURNED) for source in sources):
            left -= set(vouched)
        return frozenset(left)

    @property
    def keyed(self) -> frozenset[str]:
        """What of the request the key holds, in the names of capture: `query:page`, `header:accept-language`."""
        return frozenset(field.replace(".", ":", 1) for field in self.key.fields if field.startswith(_NAMED))

    def bind(self, values: Values, shown: Values | None = None) -> Bound:
        """Key and predicted tags for one request. Raises `UnboundFieldError`: bypass, never share (G2).

        `shown` are other values for the key alone, where it must not show what tags have to match.
        """
        given = dict(values)
        for field in self.key.fields:
            if field not in given or (given[field] is None and not field.startswith(_OPTIONAL)):
                if not field.startswith(_OPTIONAL):
                    raise UnboundFieldError(field)
                given[field] = None
        key, prefixes = self.key.bind({**given, **shown} if shown else given)
        found = [t.NAMESPACE_TAG, t.target_tag(self.name), *prefixes]
        if self.scope is Scope.CREDENTIAL and given.get("cred") != ANONYMOUS:
            found.append(t.credential_tag(given["cred"]))
        found.extend(self.data_tags(given))
        return Bound(key, tuple(dict.fromkeys(found)))

    def data_tags(self, values: Values) -> tuple[str, ...]:
        """The tags of its data that these values show; what a load has to show is not among them."""
        bound = [tag for item in self.depends_on if not item.learned for tag in item.bind(values)]
        return (*bound, *self.learning.bulk)

    def bypassed(self, values: Values) -> bool:
        """Whether a `bypass_when` condition of the target holds for this request."""
        return any(condition.holds(values) for condition in self.bypass)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole specification, executable.

    `identity` maps `user_id` and `tenant_id` to the field they come from (`claim.sub`, `header.x-user`, `host`).
    Values of the `hashed` columns (table, column) are secrets, which stand in no tag as they are.
    """

    namespace: str
    targets: Mapping[tuple[str, str], Target]
    identity: Mapping[str, str]
    column_sets: ColumnSets
    ignored_writes: frozenset[tuple[str, str]]
    l1_lease: float
    single_host: bool
    hashed: frozenset[tuple[str, str]] = frozenset()

    def asks_dependencies(self, target: Target) -> bool:
        """Whether only what a dependency returns tells whose entry of `target` is asked for."""
        fields = {
            *target.key.fields,
            *(source.name for tag in target.depends_on for _, source in tag.columns),
        }
        return any(source.startswith(_RETURNED) and name in fields for name, source in self.identity.items())

    def identify(self, values: dict[str, Any]) -> dict[str, Any]:
        """`values` with the scope ids that the specification's `identity` finds in them; ids are texts."""
        for name, source in self.identity.items():
            value = values.get(source)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                values[name] = str(value)
        return values


def compile_plan(document: Document) -> Plan:
    """Parse every pattern of `document` once. Raises `SpecError` with the place of what cannot be understood."""
    spec = document.spec
    targets: dict[tuple[str, str], Target] = {}
    for index, item in enumerate(spec.cache_targets):
        if item.endpoint is None:
            continue
        target = _target(document, index)
        targets[target.method, target.template] = target
    consistency = spec.consistency
    templates = [tag for target in targets.values() for tag in target.depends_on]
    return Plan(
        namespace=spec.namespace,
        targets=targets if spec.enabled else {},
        identity=identity_sources(spec),
        column_sets=t.column_sets(templates),
        ignored_writes=frozenset(_column(name) for name in consistency.ignore_writes),
        l1_lease=consistency.lease_ms / 1000,
        single_host=consistency.single_host,
        hashed=_hashed(document, templates),
    )


def _hashed(document: Document, templates: Collection[TagTemplate]) -> frozenset[tuple[str, str]]:
    """The columns whose values are secrets. They must be so everywhere: reads and writes meet in one tag."""
    hashed = {(tag.table, column) for tag in templates for column, source in tag.columns if source.hashed}
    for tag in templates:
        for column, source in tag.columns:
            if (tag.table, column) in hashed and not source.hashed:
                raise SpecError(
                    f"{tag}: another target hashes {tag.table}.{column}",
                    hint=f"Write {tag.table}({column}={{*hashed}}) here too.",
                    path=document.path,
                )
    return frozenset(hashed)


def _column(name: str) -> tuple[str, str]:
    table, _, column = name.lower().rpartition(".")
    return table, column


def identity_sources(spec: CachingSpecification) -> dict[str, str]:
    """Where user and tenant ids stand, by the names of values."""
    found: dict[str, str] = {}
    for name, source in (("user_id", spec.identity.user), ("tenant_id", spec.identity.tenant)):
        kind, _, rest = (source or "").partition(":")
        if kind == "claim":
            found[name] = f"claim.{rest}"
        elif kind == "header":
            found[name] = f"header.{rest.lower()}"
        elif kind == "host":
            found[name] = "host"
        elif kind == "dependency":
            found[name] = f"{_RETURNED}{rest.replace(':', '.')}"
    return found


#: A parameter with the name of its convertor, as paths are declared: `{note_id:int}`.
_CONVERTED = re.compile(r"\{(\w+):\w+\}")


def _target(document: Document, index: int) -> Target:
    item = document.spec.cache_targets[index]
    place: tuple[str | int, ...] = ("cache_targets", index)
    method, _, template = (item.endpoint or "").strip().rpartition(" ")
    template = _CONVERTED.sub(r"{\1}", template)
    scope = Scope(item.scope or "credential")
    key = _key(document, index, template, scope)
    spec, interceptor = document.spec, _interceptor(document.spec, item)
    depends_on = tuple(
        _parsed(document, (*place, "depends_on", at), TagTemplate.parse, text, template)
        for at, text in enumerate(item.depends_on)
    )
    return Target(
        name=target_name(item),
        method=(method or "GET").upper(),
        template=template,
        scope=scope,
        key=key,
        depends_on=depends_on,
        policy=policy_of(spec, index),
        levels=levels_of(spec, item),
        bypass=(
            *(
                _parsed(document, (*place, "bypass_when", at), Condition.parse, text, template)
                for at, text in enumerate(item.bypass_when)
            ),
            *_skipped(document, interceptor),
        ),
        ignored_reads=frozenset(item.ignored_reads),
        max_staleness=item.max_staleness_seconds or None,
        problem=_problem(scope, key),
        percent=float(item.percent),
        inside=interceptor is not None
        and spec.implementation.cache_interceptor[interceptor].type != "middleware",
        learning=Learning.of(depends_on),
        authorization=item.authorization,
    )


def _interceptor(spec: CachingSpecification, item: CacheTarget) -> int | None:
    """The interceptor of a target: the first that names it, else the first that names none."""
    interceptors = spec.implementation.cache_interceptor
    names = {target_name(item), item.subject, item.subject.rpartition(" ")[2]}
    named = [at for at, interceptor in enumerate(interceptors) if names & set(interceptor.endpoints)]
    rest = [at for at, interceptor in enumerate(interceptors) if not interceptor.endpoints]
    return next(iter((*named, *rest)), None)


def _skipped(document: Document, at: int | None) -> tuple[Condition, ...]:
    """When an interceptor leaves the cache alone."""
    text = None if at is None else document.spec.implementation.cache_interceptor[at].skip_condition
    if at is None or text is None:
        return ()
    place = ("implementation", "cache_interceptor", at, "skip_condition")
    return (_parsed(document, place, Condition.parse, text, ""),)


def target_name(item: CacheTarget) -> str:
    """The name of a target: its own, else what is cached; an endpoint's has a method."""
    if item.name is not None or item.endpoint is None:
        return item.name or item.subject
    method, _, template = item.endpoint.strip().rpartition(" ")
    return f"{method or 'GET'} {template}"


def levels_of(spec: CachingSpecification, item: CacheTarget | None) -> tuple[str, ...]:
    """The tiers of a target, or of whatever is no target: its own, else those of its type, else the strategy's."""
    if item is None:
        return (spec.cache_strategy.hierarchy_level,)
    if item.levels:
        return tuple(item.levels)
    return _TYPE_LEVELS.get(item.cache_type or "") or (spec.strategy_of(item).hierarchy_level,)


def _problem(scope: Scope, key: KeyTemplate) -> str | None:
    field = _SCOPE_FIELD.get(scope)
    if field is None or field in key.fields:
        return None
    return f"its scope is {scope}, but its key has no {{{field}}}"


def _key(document: Document, index: int, template: str, scope: Scope) -> KeyTemplate:
    """The target's pattern; credential and tenant prefixes are added where the pattern lacks them (C25, C67)."""
    item = document.spec.cache_targets[index]
    pattern = document.spec.key_pattern_of(item) or ""
    if scope is Scope.CREDENTIAL and "{cred}" not in pattern:
        pattern = f"cred:{{cred}}:{pattern}"
    tenants = document.spec.multi_tenant.enabled and document.spec.identity.tenant is not None
    if tenants and scope is not Scope.PUBLIC and "{tenant_id}" not in pattern:
        pattern = f"tenant:{{tenant_id}}:{pattern}"
    path_fields = _path_fields(template)

    def resolve(name: str) -> str:
        if name in ("user_id", "tenant_id", "cred", "host") or name.startswith(_NAMED):
            return name
        return f"path.{name}" if name in path_fields else f"query.{name}"

    try:
        return KeyTemplate.parse(pattern, resolve)
    except KeyPatternError as error:
        raise _misread(document, ("cache_targets", index, "cache_key_pattern"), error) from None


def _path_fields(template: str) -> frozenset[str]:
    pieces = template.split("{")[1:]
    return frozenset(piece.partition("}")[0].partition(":")[0] for piece in pieces)


def _parsed(document: Document, place: tuple[str | int, ...], parse: Any, text: str, template: str) -> Any:
    try:
        parsed = parse(text)
    except (TagTemplateError, ConditionError) as error:
        raise _misread(document, place, error) from None
    return _qualified(parsed, _path_fields(template)) if isinstance(parsed, TagTemplate) else parsed


def _qualified(template: TagTemplate, path_fields: frozenset[str]) -> TagTemplate:
    """Bare names in tag templates mean what they mean in key patterns."""

    def name(source: t.Source) -> t.Source:
        bare = source.name
        if bare is None or bare in ("user_id", "tenant_id", "host") or bare.startswith(_NAMED):
            return source
        return t.Source(f"path.{bare}" if bare in path_fields else f"query.{bare}")

    return TagTemplate(template.table, tuple((column, name(source)) for column, source in template.columns))


def _misread(document: Document, place: tuple[str | int, ...], error: Exception) -> SpecError:
    line, column = document.position(place) or (None, None)
    return SpecError(str(error), path=document.path, line=line, column=column)

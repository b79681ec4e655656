"""What an acceptance is for: one full key, or whatever of a target differs from it in the object alone.

Where a target says `authorization: target`, access does not depend on the object, which the path and the query
name. What says who asks (scope ids, claims, headers, cookies, the host) still does, and so do the path and query
parameters that the route's own security declares to read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.spec import tags as t
from cachewright.spec.keys import encode, escape
from cachewright.spec.target import Target

_OBJECT = ("path.", "query.")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a credential is accepted for beyond one full key: its name, and the tags that such a word rests on.

    No key has such a name: a pattern cannot hold a star, and no value brings one in.
    """

    name: str
    tags: tuple[str, ...]


def ground_of(
    target: Target, values: Mapping[str, Any], tagged: Mapping[str, Any], decisive: Collection[str] = ()
) -> Ground:
    """The ground of a request to `target` that binds.

    `values` are those of its key and `tagged` those of its tags, as capture names them; `decisive` are the
    parameters that the security of its route reads (`path.team_id`). Tags that a parameter of the object stands in
    are those of the object.
    """

    def of_the_object(name: str | None) -> bool:
        return name is not None and name.startswith(_OBJECT) and name not in decisive

    fields = sorted({name for name in target.key.fields if not of_the_object(name)})
    said = (f"{name}={encode(values.get(name), text=True)}" for name in fields)
    scopes = target.key.prefixes(values)[:-1]
    templates = (
        template
        for template in target.depends_on
        if not template.learned and not any(of_the_object(source.name) for _, source in template.columns)
    )
    tags = (
        t.NAMESPACE_TAG,
        t.target_tag(target.name),
        *scopes,
        *(tag for template in templates for tag in template.bind(tagged)),
        *target.learning.bulk,
    )
    return Ground(":".join((*scopes[-1:], "*", escape(target.name), *said)), tuple(dict.fromkeys(tags)))

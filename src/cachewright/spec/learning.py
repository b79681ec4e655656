"""Row tags whose values no request shows: they are learned from the SQL of each load.

The tags of an entry must carry tokens from before its load, and a value that comes out of a row (the id behind a
slug, the user behind an opaque token) is known only afterwards. So a load takes the tokens of *guards* before it
begins: the table's, which every write changes, and that of its word, which an invalidation of a row by name changes.
When it has ended, the tokens of the rows are read, and *then* the guards again: if they still stand, no
invalidation of these rows has begun in between, and the tokens of the rows are those from before the load. Every
invalidation changes the guards before the rows (`tags.rows_last`), which is what makes this an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cachewright.spec.tags import TagTemplate, bulk_tag, table_tag, word_tag

Columns = tuple[str, ...]

#: Rows of one table that an entry names; a load that read more depends on the table.
MOST_ROWS = 8


@dataclass(frozen=True, slots=True)
class Learning:
    """What a target learns: for each table the sets of columns whose values its loads show."""

    sets: Mapping[str, frozenset[Columns]]

    @classmethod
    def of(cls, templates: Iterable[TagTemplate]) -> Learning:
        """What `depends_on` asks for."""
        sets: dict[str, set[Columns]] = {}
        for template in templates:
            if template.learned:
                sets.setdefault(template.table, set()).add(tuple(column for column, _ in template.columns))
        return cls({table: frozenset(found) for table, found in sets.items()})

    @property
    def guards(self) -> tuple[str, ...]:
        """The tags whose tokens a load takes beside those of its entry."""
        return tuple(tag for table in sorted(self.sets) for tag in (table_tag(table), word_tag(table)))

    @property
    def bulk(self) -> tuple[str, ...]:
        """The tags that every entry of the target holds."""
        return tuple(bulk_tag(table) for table in sorted(self.sets))

    def learned(self, predicted: Collection[str], reads: Iterable[Collection[str]]) -> tuple[str, ...]:
        """The tags an entry needs beyond those `predicted`, so that each of these reads is covered.

        `reads` holds for every read the tags any one of which covers it. A read that pins no learned columns
        depends on its table; one of another table is left uncovered. A table that the load was not seen to read is
        depended on as a whole: it may have answered from a memory of its own, which a write would have ended.
        """
        known, rows = set(predicted), dict[str, dict[str, None]]()
        unseen = set(self.sets) - known
        for read in reads if self.sets else ():
            unseen.difference_update(read)
            if not known.isdisjoint(read):
                continue
            table = next((tag for tag in read if tag in self.sets), None)
            if table is None:
                continue
            row = min((tag for tag in read if _columns(tag) in self.sets[table]), default=table)
            rows.setdefault(table, {})[row] = None
        rows.update((table, {table: None}) for table in unseen)
        return tuple(
            tag
            for table, found in sorted(rows.items())
            for tag in ((table,) if table in found or len(found) > MOST_ROWS else found)
        )


#: A target that learns nothing.
NOTHING = Learning({})


def _columns(tag: str) -> Columns:
    """The columns of a row tag; values in it are escaped, so that only its own marks stand in it."""
    inside = tag.partition("(")[2]
    return tuple(pair.partition("=")[0] for pair in inside[:-1].split(",")) if inside else ()

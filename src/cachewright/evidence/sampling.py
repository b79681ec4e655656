"""Which requests a sampled recording keeps: whole histories of some keys, and all that may have written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cachewright.evidence.hashing import Hasher
from cachewright.evidence.trace import Hash, Value
from cachewright.spec.identity import carried

_HASHES = 2**64


class Sample:
    """Keeps `share` (0 to 1) of the keys, always the same ones under one hashing key.

    A key is the route and the values of its path and query; where credentials were read also who asked, by the
    first of `principals` (names of values) that is there, else by the whole credential. So all requests that might
    share an entry are kept or left out together.
    """

    def __init__(self, share: float, hasher: Hasher, principals: Iterable[str]) -> None:
        self.share = share
        self._hasher = hasher
        self._principals = tuple(principals)

    def keeps(
        self,
        place: str,
        values: Mapping[str, Value],
        credential: Hash | None,
        reads: Iterable[str],
        declared: Iterable[str],
    ) -> bool:
        """Whether the requests of this key are kept; `reads` and `declared` as a route has them."""
        named = [
            f"{name}={values[name].exact}" for name in sorted(values) if name.startswith(("path.", "query."))
        ]
        schemes = tuple(declared)
        if schemes or carried(reads, schemes):
            named.append(self._principal(values) or credential or "")
        return int(self._hasher.text("\n".join([place, *named]))[1:], 16) < self.share * _HASHES

    def _principal(self, values: Mapping[str, Value]) -> Hash | None:
        found = (
            values[name].exact for name in self._principals if name in values and values[name].kind != "n"
        )
        return next(found, None)

"""`cachewright export`: a specification in the language of another program, as text."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from cachewright.cli.options import Spec

EXAMPLE = "cachewright export caching.yaml prometheus-rules > cachewright.rules.yaml"


def export(
    spec: Spec,
    kind: Annotated[
        Literal["redis-conf", "prometheus-rules", "grafana", "cdn-headers", "two-identities"],
        typer.Argument(
            metavar="FORMAT",
            help="redis-conf, prometheus-rules, grafana, cdn-headers or two-identities.",
            show_default=False,
        ),
    ],
) -> None:
    """Write SPEC as lines for a server, rules, a dashboard, headers or tests. Nothing is applied anywhere."""
    from cachewright.report.exports import FORMATS
    from cachewright.spec.document import load_spec

    sys.stdout.write(FORMATS[kind](load_spec(spec)))

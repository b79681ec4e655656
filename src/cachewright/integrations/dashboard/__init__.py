"""The dashboard: one page, its style and its script, served as they stand in this package; nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

#: The page's own files and nothing else: no inline script, no other host, no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
}


@cache
def content(name: str) -> bytes:
    """One of the files."""
    return files(__name__).joinpath(name).read_bytes()

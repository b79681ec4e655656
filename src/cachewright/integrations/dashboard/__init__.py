"""The dashboard: one page, its style and its script, served as they stand in this package; nothing from elsewhere.

The runbooks stand here too: whoever is woken by an alarm reads what to do where the alarm is.
"""

from __future__ import annotations

import re
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


_ANCHOR = re.compile(r'^<a id="(\w+)"></a>\n', re.MULTILINE)


@cache
def runbooks() -> dict[str, str]:
    """What to do about each alarm, as text (Markdown), by the alarm's name."""
    _, *parts = _ANCHOR.split(content("runbooks.md").decode())
    return dict(zip(parts[::2], (text.strip() + "\n" for text in parts[1::2]), strict=True))


@cache
def content(name: str) -> bytes:
    """One of the files."""
    return files(__name__).joinpath(name).read_bytes()

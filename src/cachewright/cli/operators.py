"""Options of the commands that ask a running application over its administrator's door."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="Where the application is: http://localhost:8000.", show_default=False
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="The admin token; better in the environment, where no process list shows it.",
        envvar="CACHEWRIGHT_ADMIN_TOKEN",
        show_envvar=True,
        show_default=False,
    ),
]

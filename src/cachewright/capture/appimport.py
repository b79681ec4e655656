"""Finding the application that a command names, and saying plainly why it could not be found."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from cachewright.errors import ApplicationError

_FORM = "Write MODULE:ATTRIBUTE, as in app.main:app (or, with --factory, a function that returns the application)."


def import_app(name: str, *, factory: bool = False) -> Callable[..., Any]:
    """The ASGI application `name`, looked for from the current directory as uvicorn does.

    Raises `ApplicationError` when the module or the attribute is missing, when importing it raises, or when what
    was found cannot be called.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ApplicationError(f"{name!r} does not name an application", hint=_FORM)
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds texts
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    found = _attribute(_module(module_name, name), attribute)
    if factory:
        found = _made(found, name)
    if not callable(found):
        raise ApplicationError(f"{name!r} is a {type(found).__name__}, not an application", hint=_FORM)
    return found  # type: ignore[no-any-return]  # callable() does not narrow Any


def root_of(app: Any) -> Any:
    """The Starlette application inside `app`, which may be wrapped in middlewares that keep it as `app`."""
    seen = 0
    inner = app
    while not hasattr(inner, "routes") and seen < 20:
        following = getattr(inner, "app", None) or getattr(inner, "_app", None)
        if following is None:
            return app
        inner, seen = following, seen + 1
    return inner


def _module(module_name: str, name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ApplicationError(
                f"there is no module {error.name!r} (looked from {os.getcwd()})",  # noqa: PTH109 - shown as text
                hint=f"Run this in the directory that holds it. {_FORM}",
            ) from None
        raise _raised(name, error) from error
    except Exception as error:
        raise _raised(name, error) from error


def _attribute(module: Any, attribute: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            callables = [
                key for key, value in vars(module).items() if hasattr(value, "routes") or key == "app"
            ]
            hint = f"It has {', '.join(sorted(callables))}." if callables else _FORM
            raise ApplicationError(f"module {module.__name__!r} has no attribute {part!r}", hint=hint)
        found = getattr(found, part)
    return found


def _made(factory: Any, name: str) -> Any:
    try:
        return factory()
    except Exception as error:
        raise _raised(name, error) from error


def _raised(name: str, error: Exception) -> ApplicationError:
    """The application's own failure in one line: where in its code, and what."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    frames = [frame for frame in own if frame.filename != __file__]
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return ApplicationError(
        f"importing {name!r} failed: {place}{type(error).__name__}: {error}",
        hint="Does it start under uvicorn in this environment?",
    )

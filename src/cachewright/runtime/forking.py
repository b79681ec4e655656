"""What a forked process does with what it was born with: connections, threads and locks are its parent's.

A child has the parent's locks as they were at that moment, perhaps taken by threads that it does not have, an event
loop that seems to run and does not, and the name under which the parent speaks on the bus. Each owner of
such things starts anew in the child, before any code of the program runs there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod

_anew: set[WeakMethod[Callable[[], None]]] = set()


def start_anew_in_children(method: Callable[[], None]) -> None:
    """Call this bound method in every process that is forked from this one, as long as its owner lives."""
    _anew.add(WeakMethod(method, _anew.discard))


def _forked() -> None:
    for reference in tuple(_anew):
        method = reference()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

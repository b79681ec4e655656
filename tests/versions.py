"""What the installed frameworks can do; the rest is tested with those that can."""

from importlib.metadata import version

FASTAPI = tuple(int(part) for part in version("fastapi").split(".")[:2])
#: From 0.115 on a model may stand for several query parameters.
QUERY_MODELS = FASTAPI >= (0, 115)

"""A plan for the traffic that `TodoTraffic` makes: one list of each user, and what all may see."""

from cachewright.spec.document import loads_spec
from cachewright.spec.target import Plan, compile_plan

STATS, NEWS = "GET /api/tasks/stats", "GET /news"

SPECIFICATION = """
caching_specification:
  namespace: todo
  identity: {user: claim:sub}
  cache_targets:
  - endpoint: GET /api/tasks/stats
    scope: user
    cache_key_pattern: "user:{user_id}:stats"
    levels: [l1, l2]
    depends_on: ["tasks(owner_id={user_id})", "users(id={user_id})"]
  - endpoint: GET /news
    scope: public
    cache_key_pattern: "news"
    levels: [l1, l2]
    depends_on: [news]
"""


def todo_plan() -> Plan:
    """The plan, compiled."""
    return compile_plan(loads_spec(SPECIFICATION))

"""The runtime and the replay come to the same counts over the same events: the one place that knows both wings."""

import time
from collections import Counter
from random import Random
from uuid import uuid4

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analysis.builder import TodoTraffic
from tests.apps import path_user
from tests.conformance.driving import ROOM, Clock, Driver, memory_cache, replayed
from tests.simulator.recording import Recording, plan_of

from cachewright.capture.asgi import Watched
from cachewright.capture.database import DatabaseWatch
from cachewright.evidence.recorder import Recorder
from cachewright.evidence.trace import Trace
from cachewright.evidence.tracefile import read_trace
from cachewright.runtime.cache import Cache
from cachewright.runtime.settings import Settings, boottime
from cachewright.simulator.judge import Judge
from cachewright.simulator.lookups import prepare
from cachewright.simulator.replay import ReplaySettings, _late, _Replay
from cachewright.spec.target import Plan

TODO = """
identity: {user: "claim:sub"}
consistency: {identity_ttl_seconds: 8}
cache_targets:
- endpoint: GET /api/tasks
  scope: user
  cache_key_pattern: "user:{user_id}:tasks:status={status}:page={page}"
  depends_on: ["tasks(owner_id={user_id})", "users(id={user_id})"]
  bypass_when: ["query.status == 'done'"]
  strategy: {ttl: {duration_seconds: 5}}
- endpoint: GET /api/tasks/{task_id}
  scope: user
  cache_key_pattern: "user:{user_id}:tasks:{task_id}"
  depends_on: ["tasks(id={task_id},owner_id={user_id})", "users(id={user_id})"]
- endpoint: GET /api/tasks/stats
  cache_key_pattern: "stats"
  depends_on: [tasks, users]
  strategy: {ttl: {duration_seconds: 3}}
- endpoint: GET /news
  scope: public
  cache_key_pattern: news
  depends_on: [news]
  strategy: {ttl: {duration_seconds: 0.5}}
"""

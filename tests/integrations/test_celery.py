"""Tasks of a real Celery worker over a real broker reach a running application."""

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from fastapi import FastAPI
from tests.integrations.driving import get, specification
from tests.servers import serve_app

from cachewright.integrations.celery import register
from cachewright.integrations.install import install

TOKEN = "a-token-of-the-administrator"


@pytest.mark.filterwarnings("ignore")  # Celery's own
@pytest.mark.requirement("#321")
def test_warming_and_invalidation_as_tasks(valkey_url):
    application = FastAPI()
    asked = []

    @application.get("/greeting")
    async def greeting():
        asked.append(1)
        return "hello"

    document = specification(
        {**get("/greeting", "anything"), "name": "greeting"},
        consistency={"single_host": True},
        cache_warming={"enabled": True, "scheduled": {"schedule": "1d", "queries": [{"name": "greeting"}]}},
    )
    install(application, document, workers=1, admin_token=TOKEN)
    with serve_app(application) as url:
        jobs = Celery("jobs", broker=f"{valkey_url}/5", backend=f"{valkey_url}/6")
        register(jobs, url, TOKEN)
        with start_worker(
            jobs, perform_ping_check=False, pool="solo", shutdown_timeout=20, loglevel="WARNING"
        ):
            begun = jobs.send_task("cachewright.warm", kwargs={"job": "scheduled"}).get(timeout=30)
            assert begun["begun"] == ["scheduled"]
            changed = jobs.send_task("cachewright.invalidate", kwargs={"target": "greeting"}).get(timeout=30)
            assert changed.keys() == {"invalidated"}
    assert asked == [1]

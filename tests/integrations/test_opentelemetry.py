"""What a reader of OpenTelemetry's own SDK collects from a cached application."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note

NOTE = {**get("/notes/{note_id}", "shop_notes(id={note_id})", key="notes:note={note_id}"), "name": "note"}


@pytest.fixture
def app(shop):
    @shop.app.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == note_id))

    return shop.app


async def test_a_reader_collects_what_was_counted(app):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    async with driven(app, specification(NOTE), meter=provider.get_meter("test")) as driver:
        await driver.get("/notes/1")
        await driver.get("/notes/1")
        (resource,) = reader.get_metrics_data().resource_metrics
        points = {
            (metric.name, *sorted(point.attributes.items())): point.value
            for metric in resource.scope_metrics[0].metrics
            for point in metric.data.data_points
        }
    note = (("scope", "public"), ("target", "note"))
    assert points["cachewright.hits", *note, ("tier", "l1")] == 1
    assert points["cachewright.misses", ("reason", "absent"), *note] == 1
    assert points["cachewright.memory.items",] >= 1
    assert points["cachewright.load.time", *note] > 0
    provider.shutdown()

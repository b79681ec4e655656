"""The figures of a worker in its file, also where they cannot be written for a while."""

import json
import os
import shutil

from tests.runtime.driving import until

from cachewright.integrations.statistics import StatisticsFile


async def test_the_last_figures_are_written_at_the_end(tmp_path):
    figures = {"hits": 1}
    file = StatisticsFile(tmp_path, lambda: figures)
    file.start()
    path = tmp_path / f"{os.getpid()}.json"
    await until(path.exists)
    figures["hits"] = 2
    await file.aclose()
    assert json.loads(path.read_text()) == {"hits": 2}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


async def test_figures_that_cannot_be_written_are_said_once_and_end_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("cachewright.integrations.statistics._INTERVAL", 0.001)
    asked = []
    directory = tmp_path / "later"
    file = StatisticsFile(directory, lambda: {"asked": asked.append(1) or len(asked)})
    file.start()
    await until(lambda: len(asked) > 2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    directory.mkdir()
    path = directory / f"{os.getpid()}.json"
    await until(path.exists)
    shutil.rmtree(directory)
    await file.aclose()
    assert len(caplog.records) == 1

from cachewright.cli.main import run

run()

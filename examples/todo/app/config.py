import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set, through environment variables that begin with TODO_."""

    database_url: str
    signing_key: str
    token_lifetime: timedelta

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        return cls(
            database_url=env.get("TODO_DATABASE_URL", "sqlite:///./todo.db"),
            signing_key=env.get("TODO_SIGNING_KEY", "for-development-only-never-deploy-this-key"),
            token_lifetime=timedelta(minutes=int(env.get("TODO_TOKEN_MINUTES", "720"))),
        )


settings = Settings.from_env(os.environ)

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import text

from .clock import utc_now
from .database import SessionDep, engine
from .models import Base
from .routers import admin, auth, profile, stats, tasks, tenants
from .schemas import Health, Now


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(title="Todo", lifespan=lifespan)
app.include_router(auth.router, prefix="/auth", tags=["auth"])
app.include_router(tasks.router, prefix="/api/tasks", tags=["tasks"])
app.include_router(stats.router, prefix="/api/stats", tags=["stats"])
app.include_router(profile.router, prefix="/api/profile", tags=["profile"])
app.include_router(tenants.router, prefix="/api", tags=["tenant"])
app.include_router(admin.router, prefix="/api/admin", tags=["admin"])


@app.get("/health")
def health(session: SessionDep) -> Health:
    session.execute(text("SELECT 1"))
    return Health(status="ok")


@app.get("/api/now")
def now() -> Now:
    return Now(now=utc_now())

from collections.abc import Sequence

from fastapi import APIRouter
from sqlalchemy import select

from ..database import SessionDep
from ..models import Project, TenantSettings
from ..schemas import ProjectOut, SettingsEdit, SettingsOut
from ..security import CurrentAdmin, CurrentUser

router = APIRouter()


@router.get("/projects", response_model=list[ProjectOut])
def list_projects(user: CurrentUser, session: SessionDep) -> Sequence[Project]:
    return session.scalars(
        select(Project).where(Project.tenant_id == user.tenant_id).order_by(Project.name, Project.id)
    ).all()


@router.get("/tenant/settings", response_model=SettingsOut)
def get_settings(user: CurrentUser, session: SessionDep) -> TenantSettings:
    return session.get_one(TenantSettings, user.tenant_id)


@router.put("/tenant/settings", response_model=SettingsOut)
def put_settings(body: SettingsEdit, admin: CurrentAdmin, session: SessionDep) -> TenantSettings:
    row = session.get_one(TenantSettings, admin.tenant_id)
    for name, value in body.model_dump().items():
        setattr(row, name, value)
    session.commit()
    session.refresh(row)
    return row

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..database import SessionDep
from ..models import Profile, Tenant, User
from ..schemas import ProfileEdit, ProfileOut
from ..security import CurrentUser

router = APIRouter()


def read_profile(session: Session, user: User) -> ProfileOut:
    profile, tenant = session.execute(
        select(Profile, Tenant)
        .join(User, User.id == Profile.user_id)
        .join(Tenant, Tenant.id == User.tenant_id)
        .where(Profile.user_id == user.id)
    ).one()
    return ProfileOut(
        id=user.id,
        email=user.email,
        full_name=user.full_name,
        role=user.role,
        tenant=tenant.name,
        display_name=profile.display_name,
        bio=profile.bio,
        locale=profile.locale,
        email_digest=profile.email_digest,
    )


@router.get("")
def get_profile(user: CurrentUser, session: SessionDep) -> ProfileOut:
    return read_profile(session, user)


@router.put("")
def put_profile(body: ProfileEdit, user: CurrentUser, session: SessionDep) -> ProfileOut:
    profile = session.get_one(Profile, user.id)
    for name, value in body.model_dump().items():
        setattr(profile, name, value)
    session.commit()
    return read_profile(session, user)

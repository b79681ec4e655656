from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import select

from ..database import SessionDep
from ..models import User
from ..schemas import Token
from ..security import issue_token, verify_password

router = APIRouter()


@router.post("/login")
def login(form: Annotated[OAuth2PasswordRequestForm, Depends()], session: SessionDep) -> Token:
    user = session.scalar(select(User).where(User.email == form.username))
    if user is None or not user.is_active or not verify_password(form.password, user.password_hash):
        raise HTTPException(401, "The email address or the password is wrong.")
    return Token(access_token=issue_token(user))

import hashlib
import hmac
import secrets
from typing import Annotated

import jwt
from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ValidationError
from sqlalchemy import select

from .clock import utc_now
from .config import settings
from .database import SessionDep
from .models import Role, User

ALGORITHM = "HS256"

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="/auth/login")


class TokenPayload(BaseModel):
    sub: str
    tid: int
    role: Role
    iat: int
    exp: int
    jti: str


def hash_password(password: str, salt: bytes) -> str:
    """Return `salt$digest` in hex. The cost is low on purpose: this is an example, not a vault."""
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1, dklen=32)
    return f"{salt.hex()}${digest.hex()}"


def verify_password(password: str, stored: str) -> bool:
    salt = bytes.fromhex(stored.partition("$")[0])
    return hmac.compare_digest(hash_password(password, salt), stored)


def issue_token(user: User) -> str:
    now = utc_now()
    claims = {
        "sub": str(user.id),
        "tid": user.tenant_id,
        "role": user.role.value,
        "iat": now,
        "exp": now + settings.token_lifetime,
        "jti": secrets.token_hex(8),
    }
    return jwt.encode(claims, settings.signing_key, algorithm=ALGORITHM)


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})


async def token_payload(token: Annotated[str, Depends(oauth2_scheme)]) -> TokenPayload:
    try:
        return TokenPayload.model_validate(jwt.decode(token, settings.signing_key, algorithms=[ALGORITHM]))
    except (jwt.InvalidTokenError, ValidationError) as error:
        raise _unauthorized("The token is not valid.") from error


def current_user(payload: Annotated[TokenPayload, Depends(token_payload)], session: SessionDep) -> User:
    user = session.scalar(select(User).where(User.id == int(payload.sub)))
    if user is None or not user.is_active:
        raise _unauthorized("The account is not active.")
    return user


CurrentUser = Annotated[User, Depends(current_user)]


async def current_admin(user: CurrentUser) -> User:
    if user.role is not Role.ADMIN:
        raise HTTPException(403, "Only an administrator may do this.")
    return user


CurrentAdmin = Annotated[User, Depends(current_admin)]

"""Sync SQLAlchemy where no request shows whose rows are read: slugs, opaque session cookies, carts by cookie.

An article's comments are read by the id that its slug led to; a visitor is found through a login, then through the
login's user.
"""

import os
from collections.abc import Iterator
from random import Random
from typing import Annotated

import httpx
from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

USERS, ARTICLES = 12, 24


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Login(Base):
    __tablename__ = "logins"
    id: Mapped[int] = mapped_column(primary_key=True)
    secret: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


class Article(Base):
    __tablename__ = "articles"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]


class Comment(Base):
    __tablename__ = "comments"
    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("articles.id"), index=True)
    text: Mapped[str]


class CartLine(Base):
    __tablename__ = "cart_lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("articles.id"))


class ArticleOut(BaseModel):
    title: str
    comments: list[str]


class CommentIn(BaseModel):
    text: str


class Line(BaseModel):
    article_id: int


def secret_of(user: int) -> str:
    return f"{user:02d}f0e1d2c3b4a5968778695a4b3c2d1e0f"


def get_session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def get_user(session: SessionDep, sid: Annotated[str | None, Cookie()] = None) -> User:
    login = session.scalar(select(Login).where(Login.secret == sid)) if sid else None
    user = session.scalar(select(User).where(User.id == login.user_id)) if login else None
    if user is None:
        raise HTTPException(401, "log in first")
    return user


UserDep = Annotated[User, Depends(get_user)]


def article_of(slug: str, session: SessionDep) -> Article:
    article = session.scalar(select(Article).where(Article.slug == slug))
    if article is None:
        raise HTTPException(404, "no such article")
    return article


ArticleDep = Annotated[Article, Depends(article_of)]


def build(database_url: str) -> FastAPI:
    app = FastAPI()
    app.state.engine = create_engine(database_url, connect_args={"check_same_thread": False})

    @app.get("/articles/{slug}")
    def read_article(article: ArticleDep, session: SessionDep) -> ArticleOut:
        texts = session.scalars(
            select(Comment.text).where(Comment.article_id == article.id).order_by(Comment.id)
        )
        return ArticleOut(title=article.title, comments=list(texts))

    @app.get("/cart")
    def read_cart(user: UserDep, session: SessionDep) -> list[Line]:
        rows = session.scalars(select(CartLine.article_id).where(CartLine.user_id == user.id))
        return [Line(article_id=number) for number in rows]

    @app.post("/articles/{slug}/comments", status_code=201)
    def comment(body: CommentIn, article: ArticleDep, user: UserDep, session: SessionDep) -> None:
        del user
        session.add(Comment(article_id=article.id, text=body.text))
        session.commit()

    @app.patch("/articles/{slug}")
    def rename(body: dict[str, str], article: ArticleDep, session: SessionDep) -> None:
        article.slug = body.get("slug", article.slug)
        article.title = body.get("title", article.title)
        session.commit()

    @app.post("/cart", status_code=201)
    def add_line(body: Line, user: UserDep, session: SessionDep) -> None:
        session.add(CartLine(user_id=user.id, article_id=body.article_id))
        session.commit()

    @app.post("/login/{user_id}")
    def log_in(user_id: int, response: Response, session: SessionDep) -> None:
        if session.scalar(select(Login).where(Login.secret == secret_of(user_id))) is None:
            session.add(Login(secret=secret_of(user_id), user_id=user_id))
            session.commit()
        response.set_cookie("sid", secret_of(user_id))

    @app.post("/logout")
    def log_out(user: UserDep, session: SessionDep) -> None:
        for login in session.scalars(select(Login).where(Login.user_id == user.id)):
            session.delete(login)
        session.commit()

    return app


def seed(database_url: str) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(id=number, name=f"user {number}") for number in range(1, USERS + 1))
        session.add_all(
            Article(id=number, slug=f"article-{number}", title=f"Article {number}")
            for number in range(1, ARTICLES + 1)
        )
        session.commit()
        session.add_all(Login(secret=secret_of(number), user_id=number) for number in range(1, USERS + 1))
        session.add_all(Comment(article_id=n % ARTICLES + 1, text=f"comment {n}") for n in range(200))
        session.commit()
    engine.dispose()


def exercise(client: httpx.Client) -> None:
    """Many reads of a few articles and carts, between comments on others and logins of others."""
    dice = Random(11)
    for step in range(700):
        user = dice.randint(1, USERS)
        slug = f"article-{min(dice.randint(1, ARTICLES), dice.randint(1, ARTICLES))}"
        who = {"cookie": f"sid={secret_of(user)}"}
        chance = dice.random()
        if chance < 0.55:
            answer = client.get(f"/articles/{slug}")
        elif chance < 0.85:
            answer = client.get("/cart", headers=who)
        elif chance < 0.92:
            answer = client.post(f"/articles/{slug}/comments", headers=who, json={"text": f"step {step}"})
        elif chance < 0.96:
            answer = client.post("/cart", headers=who, json={"article_id": dice.randint(1, ARTICLES)})
        else:
            client.post("/logout", headers=who)
            answer = client.post(f"/login/{user}")
        client.cookies.clear()
        assert answer.status_code < 400, (chance, answer.status_code)


app = build(os.environ.get("APP_DATABASE_URL", "sqlite:///blog.db"))

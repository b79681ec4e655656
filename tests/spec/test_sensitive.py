"""Words that keep a path out of the cache, and a value out of a key."""

import pytest

from cachewright.spec.sensitive import secret_words, sensitive_words, session_words


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/login", ("login",)),
        ("/auth/token/refresh", ("auth", "refresh", "token")),
        ("/v1/api-keys/{key_id}", ("api-keys",)),
        ("/users/{user_id}/apiKeys", ("api-keys",)),
        ("/password_reset", ("password",)),
        ("/oauth2/callback", ("callback", "oauth2")),
        ("/me/2fa", ("2fa",)),
        ("/LOGOUT", ("logout",)),
        ("/accessToken", ("token",)),
        ("/authors/{author_id}", ()),
        ("/tokenizers", ()),
        ("/secretary", ()),
        ("/blog/ins", ()),
    ],
)
def test_paths(path, words):
    assert sensitive_words(path) == words


def test_a_step_of_a_login_says_nothing_of_a_value():
    assert secret_words("refresh") == secret_words("callback") == secret_words("login") == ()
    assert secret_words("x-csrf-token") == ("csrf", "token")
    assert secret_words("api_key") == ("api_key",)


def test_sessions_are_doubtful_and_not_sensitive():
    assert session_words("/conference/sessions") == ("sessions",)
    assert sensitive_words("/conference/sessions") == ()
    assert session_words("/obsessions") == ()

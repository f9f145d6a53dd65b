"""Who may ask what, and how often; and a key is never told."""

import hashlib
import hmac

import pytest

import cofactor as cf
from cofactor.serve.keys import Key, Keys
from cofactor.serve.request_error import RequestError

READ, WRITE, ADMIN = "read-key-0123456789", "write-key-0123456789", "admin-key-0123456789"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(
        f"""
[page]
key = "{READ}"
rate = 2
burst = 3

[shop]
sha256 = "{hashlib.sha256(WRITE.encode()).hexdigest()}"
role = "write"
rate = 0.5

[boss]
key = "{ADMIN}"
role = "admin"
"""
    )
    return path


def status(keys, header, role):
    try:
        keys.check(header, role)
    except RequestError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("key", "allowed"), [(READ, ["read"]), (WRITE, ["read", "write"]), (ADMIN, ["read", "write", "admin"])]
)
def test_a_key_may_what_its_role_may(path, key, allowed):
    keys = Keys.read(path, {})
    for role in ("read", "write", "admin"):
        expected = 200 if role in allowed else 403
        fresh = Keys(keys._keys)
        assert status(fresh, f"Bearer {key}", role) == expected
        assert status(Keys(keys._keys), key, role) == expected  # as X-API-Key


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer x", READ[:-1], READ + "x", "Basic " + READ, "é"]
)
def test_no_key_or_an_unknown_one(path, header):
    with pytest.raises(RequestError) as caught:
        Keys.read(path, {}).check(header, "read")
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"
    assert READ not in str(caught.value)


def test_without_keys_everybody_may_everything():
    keys = Keys.read(None, {})
    assert not keys
    assert keys.check(None, "admin") is None


def test_keys_of_the_environment(path):
    keys = Keys.read(path, {"COFACTOR_KEYS": "read:another-key-0123456, admin:a-third-key-01234567,"})
    assert len(keys) == 5
    assert keys.check("Bearer another-key-0123456", "read").name == "environment-1"
    assert keys.check("Bearer a-third-key-01234567", "admin").role == "admin"


def test_keys_are_compared_by_their_digests_in_constant_time_however_many_there_are(monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    keys = Keys.read(None, {"COFACTOR_KEYS": ",".join(f"read:key-of-number-{n:04}" for n in range(1000))})
    for key, wanted in (("key-of-number-0000", 200), ("key-of-number-0999", 200), ("key-of-number-1000", 401)):
        compared.clear()
        assert status(keys, key, "read") == wanted
        digest = hashlib.sha256(key.encode()).digest()
        assert compared == ([(digest, digest)] if wanted == 200 else [])


def test_a_rate_is_held_and_comes_back(path):
    at = [1000.0]
    keys = Keys(Keys.read(path, {})._keys, clock=lambda: at[0])
    assert [status(keys, READ, "read") for _ in range(4)] == [200, 200, 200, 429]
    at[0] += 0.5
    assert [status(keys, READ, "read") for _ in range(2)] == [200, 429]
    at[0] += 1000
    assert [status(keys, READ, "read") for _ in range(4)] == [200, 200, 200, 429]
    assert status(keys, ADMIN, "read") == 200  # others are not concerned
    assert status(keys, WRITE, "read") == 200
    with pytest.raises(RequestError, match=r"0\.5 times a second") as caught:
        keys.check(WRITE, "read")
    assert caught.value.headers == {"Retry-After": "2"}


def test_processes_share_what_was_spent():
    key = Key("page", hashlib.sha256(READ.encode()).digest(), rate=1.0, burst=2.0)
    spent = [0.0]
    one, two = (Keys([key], clock=lambda: 1000.0, spent=spent) for _ in range(2))
    assert [status(keys, READ, "read") for keys in (one, two, one, two)] == [200, 200, 429, 429]


def test_processes_share_a_file(tmp_path):
    key = Key("page", hashlib.sha256(READ.encode()).digest(), rate=1.0, burst=2.0)
    one, two = (Keys([key], clock=lambda: 1000.0).shared(tmp_path / "spent") for _ in range(2))
    assert [status(keys, READ, "read") for keys in (one, two, one, two)] == [200, 200, 429, 429]


def test_a_refused_key_spends_nothing(path):
    keys = Keys.read(path, {})
    assert [status(keys, READ, "admin") for _ in range(9)] == [403] * 9
    assert status(keys, READ, "read") == 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("key = 'abc'", "line 1: key must be a table"),
        ("[a]\nkey = 'short'", "at least 16"),
        ("[a]\nkey = 'with some spaces in it'", "no spaces"),
        ("[a]\nkey = 'é23456789012345678'", "no spaces"),
        ("[a]\nkey = 12", "at least 16"),
        ("[a]\nsha256 = 'abc'", "64 hexadecimal"),
        ("[a]\nrole = 'read'", "key = or sha256 ="),
        (f"[a]\nkey = '{READ}'\nsha256 = '{'0' * 64}'", "one of them"),
        (f"[a]\nkey = '{READ}'\nrole = 'amdin'", "did you mean admin"),
        (f"[a]\nkey = '{READ}'\nrole = 7", "role must be"),
        (f"[a]\nkey = '{READ}'\nrat = 7", "did you mean rate"),
        (f"[a]\nkey = '{READ}'\nrate = 0", "rate must be a number"),
        (f"[a]\nkey = '{READ}'\nrate = nan", "rate must be a number"),
        (f"[a]\nkey = '{READ}'\nrate = true", "rate must be a number"),
        (f"[a]\nkey = '{READ}'\nrate = 1\nburst = 0.5", "burst must be"),
        (f"[a]\nkey = '{READ}'\nburst = 5", "burst without a rate"),
        (f"[a]\nkey = '{READ}'\n[b]\nkey = '{READ}'", "'a' and 'b' are the same key"),
        ("[a", "not TOML"),
    ],
)
def test_files_that_cannot_be(tmp_path, text, told):
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((cf.DataError, cf.ParameterError), match=told) as caught:
        Keys.read(path, {})
    assert READ not in str(caught.value)


@pytest.mark.parametrize("text", ["nonsense", "read:short", "boss:0123456789abcdefgh"])
def test_variables_that_cannot_be(text):
    with pytest.raises(cf.DataError, match="COFACTOR_KEYS, key 1") as caught:
        Keys.read(None, {"COFACTOR_KEYS": text})
    assert "0123456789abcdefgh" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(cf.DataError, match="cannot be read"):
        Keys.read(tmp_path / "no.toml", {})

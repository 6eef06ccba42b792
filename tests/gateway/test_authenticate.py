import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.config import hash_key
from compass_ray.gateway.authenticate import Callers
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import Unauthenticated

ALICE, ANYBODY = Caller("alice", "acme"), Caller("anonymous", "open")
CALLERS = Callers({hashlib.sha256(b"ck-alice").digest(): ALICE}, ANYBODY)


def test_a_key_is_its_caller_s():
    assert CALLERS.authenticate("ck-alice") is ALICE
    assert not CALLERS.open


def test_no_key_is_told_how_to_send_one():
    with pytest.raises(Unauthenticated, match="Bearer") as refused:
        CALLERS.authenticate(None)

    assert refused.value.code == "missing_api_key"


@given(key=st.text().filter(lambda key: key != "ck-alice"))
def test_any_other_key_is_refused_and_not_repeated(key):
    with pytest.raises(Unauthenticated) as refused:
        CALLERS.authenticate(key)

    assert (refused.value.message, refused.value.code) == ("unknown API key", "invalid_api_key")


@pytest.mark.parametrize("credential", [None, "", "ck-alice"])
def test_without_configured_keys_everybody_is_anonymous(credential):
    callers = Callers({}, ANYBODY)

    assert callers.open
    assert callers.authenticate(credential) is ANYBODY


def test_the_configured_hash_is_the_one_that_is_looked_up():
    digest = bytes.fromhex(hash_key("ck-alice").removeprefix("sha256:"))

    assert Callers({digest: ALICE}, ANYBODY).authenticate("ck-alice") is ALICE

"""Certificate requests of whatever bytes: taken with a P-256 key, or refused, and nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ftc_core.credentials.signing_request import judge_signing_request
from ftc_core.errors import FtcError, Reason
from tests.signing_requests import ACCOUNT_ID, DEVICE_ID, NAME, signing_request, subject

GOOD = signing_request(subject())


def taken(der: bytes) -> bool:
    try:
        key = judge_signing_request(der, endpoint_name=NAME, device_id=DEVICE_ID, account_id=ACCOUNT_ID)
    except FtcError as error:
        assert error.reason is Reason.SIGNING_REQUEST_INVALID
        return False
    assert key.curve.name == "secp256r1"
    return True


@given(st.binary(max_size=600))
def test_no_bytes_raise_anything_but_a_refusal(der: bytes) -> None:
    assert not taken(der)


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(GOOD)),
)
def test_a_good_request_with_bytes_altered_or_cut_is_taken_only_if_it_is_what_it_was(
    changes: list[tuple[int, int]], kept: int
) -> None:
    altered = bytearray(GOOD)
    for position, value in changes:
        altered[position] = value
    assert taken(bytes(altered)) == (altered == GOOD)
    assert taken(GOOD[:kept]) == (kept == len(GOOD))


@given(st.dictionaries(st.sampled_from(["CN", "L", "OU", "O"]), st.text(min_size=1, max_size=20)))
def test_of_other_names_none_but_the_devices_own_is_taken(names: dict[str, str]) -> None:
    own = {"CN": NAME, "L": DEVICE_ID, "OU": ACCOUNT_ID}
    try:
        der = signing_request(subject(**names))
    except ValueError:
        return  # no such name can stand in a certificate
    assert taken(der) == all(names.get(name, value) == value for name, value in own.items())

"""Listen addresses for any text and any address."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from ftc_core.listen import ListenAddress

PORTS = st.integers(0, 65_535)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: str(address)),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9](\.[a-z]{1,10}){0,3}", fullmatch=True),
    st.just("*"),
)


@given(HOSTS, PORTS)
def test_printed_address_reads_back(host: str, port: int) -> None:
    address = ListenAddress(host, port)
    assert ListenAddress.parse(str(address)) == address


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        address = ListenAddress.parse(text)
        assert ListenAddress.parse(str(address)) == address

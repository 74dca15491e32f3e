"""Resource names, page tokens, request fields and API keys, whatever a caller sends."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ftc_core.errors import FtcError, Reason
from ftc_grpc.convert import revision_of_etag
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import (
    ACCOUNT,
    API_KEY,
    DEVICE,
    DEVICE_ENROLLMENT,
    TRUSTED_CERTIFICATE,
    NamePattern,
    resource_type,
)

PATTERNS = [ACCOUNT, API_KEY, DEVICE, DEVICE_ENROLLMENT, TRUSTED_CERTIFICATE]
ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
patterns = st.sampled_from(PATTERNS)
PAGINATOR = Paginator(bytes(32))


@dataclass
class Query:
    """A list query."""

    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""
    include_total_size: bool = False


@given(patterns, ids, ids)
def test_name_is_read_as_it_was_written(pattern: NamePattern, first: str, second: str) -> None:
    given_ids = (first, second)[: pattern.pattern.count("{")]
    name = pattern.format(*given_ids)

    assert pattern.parse(name, field="name") == given_ids
    assert resource_type(name) == pattern.type


@given(patterns, st.text())
def test_any_other_text_is_refused_with_the_form(pattern: NamePattern, text: str) -> None:
    with pytest.raises(FtcError) as caught:
        pattern.parse(text, field="name")

    assert caught.value.reason in (Reason.RESOURCE_NAME_INVALID, Reason.FIELD_REQUIRED)
    assert pattern.pattern in caught.value.message
    assert len(caught.value.message) < 2_500  # of `repr`, a character may take ten


@given(ids, st.text(max_size=50))
def test_token_leads_to_where_it_was_made(after: str, scope: str) -> None:
    token = PAGINATOR.token(after, Query(), scope=scope)

    assert PAGINATOR.read(Query(page_token=token), scope=scope).after == after


@given(ids, st.text(max_size=50), st.text(max_size=50))
def test_token_is_good_for_its_scope_alone(after: str, made: str, used: str) -> None:
    assume(made != used)
    token = PAGINATOR.token(after, Query(), scope=made)

    with pytest.raises(FtcError, match="page token"):
        PAGINATOR.read(Query(page_token=token), scope=used)


queries = st.builds(
    Query, filter=st.sampled_from(["", "a = b", "a = c"]), order_by=st.sampled_from(["", "id desc"])
)


@given(ids, queries, queries)
def test_token_is_good_for_its_filter_and_order_alone(after: str, made: Query, used: Query) -> None:
    assume(made != used)
    used.page_token = PAGINATOR.token(after, made, scope="")

    with pytest.raises(FtcError, match="page token"):
        PAGINATOR.read(used, scope="")


@given(st.text(min_size=1))
def test_token_cannot_be_made_up(token: str) -> None:
    with pytest.raises(FtcError) as caught:
        PAGINATOR.read(Query(page_token=token), scope="")

    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


@given(ids)
def test_token_of_another_server_s_secret_is_refused(after: str) -> None:
    token = Paginator(bytes([1]) * 32).token(after, Query(), scope="")

    with pytest.raises(FtcError, match="page token"):
        PAGINATOR.read(Query(page_token=token), scope="")


@given(st.integers(-(2**31), 2**31 - 1))
def test_page_size_is_within_its_bounds_or_refused(size: int) -> None:
    if size < 0:
        with pytest.raises(FtcError, match="page_size"):
            PAGINATOR.read(Query(page_size=size), scope="")
    else:
        assert 1 <= PAGINATOR.read(Query(page_size=size), scope="").size <= 1_000


@given(st.text(min_size=1))
def test_etag_that_we_never_gave_matches_no_revision(etag: str) -> None:
    assume(not (etag.startswith('"') and etag.endswith('"')))

    revision = revision_of_etag(etag)
    assert revision is not None
    assert revision < 0


@given(st.integers(0, 2**53))
def test_etag_is_read_as_it_was_written(revision: int) -> None:
    assert revision_of_etag(f'"{revision}"') == revision

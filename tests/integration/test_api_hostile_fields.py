"""Every field of every request with what nobody should send: it is taken, or refused with a reason of ours.

One field of a request that is good otherwise has another value. What must never come of it is INTERNAL or
UNKNOWN, a status without a reason, or a text in which our language shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

from ftc_core.application.context import new_id
from ftc_core.errors import CATALOGUE, Reason
from tests.api import TestApi
from tests.integration.test_api_surface import METHODS, REQUESTS, Answer, Things, attempt

TEXTS = [
    "",
    " ",
    "\0",
    "x\0y",
    "\n",
    "*",
    "-",
    "/",
    "..",
    "\u202eabc",  # right to left from here on
    "e\u0301" * 50,  # combining
    "\ud7ff\ue000\U0010ffff",  # around the surrogates, and the last there is
    "💡" * 101,
    "x" * 100_000,
    "%s%n{0}{}",
    '"',
    "'; DROP TABLE accounts; --",
    "accounts/-",
    "accounts/" + "0" * 32,
    "accounts/" + "F" * 32,
    f"accounts/{new_id()}",
    f"accounts/{new_id()}/devices/{new_id()}",
    f"operations/{new_id()}",
    "ledgerCheckpoints/99999999999999999999999999",
    "ledgerCheckpoints/" + "1" * 5_000,
    "A-" + ":".join(["00"] * 32),
    "B-" + ":".join(["00"] * 32),
    "A-" + ":".join(["٠٠"] * 32),
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "id desc desc",
    "id=",
    "created_at > 0001-01-01T00:00:00+23:59",
    "((((((((((",
    '"1"',
    '"999999999999999999"',
    "00000000-0000-0000-0000-000000000000",
    "1e309",
]
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: [0, 1, -1, 2**31 - 1, -(2**31)],
    FieldDescriptor.CPPTYPE_INT64: [0, 1, -1, 2**31, 2**63 - 1, -(2**63)],
    FieldDescriptor.CPPTYPE_UINT32: [0, 2**32 - 1],
    FieldDescriptor.CPPTYPE_UINT64: [0, 2**64 - 1],
    FieldDescriptor.CPPTYPE_ENUM: [0, 1, 99, -1, 2**31 - 1, -(2**31)],
    FieldDescriptor.CPPTYPE_BOOL: [True, False],
}
REPEATED_MAX = 2_000
ECHO = re.compile(r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")
"""What a text repeats of the request stands in quotes."""
PYTHON = re.compile(
    r"Traceback|Error\b|Exception|NoneType|<class|object at 0x|\bNone\b|\bself\b|__|datetime\."
)


def values(field: FieldDescriptor) -> Sequence[Any]:
    """Hostile values of one scalar."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return TEXTS if field.type == FieldDescriptor.TYPE_STRING else [b"", b"\0" * 10, b"\xff" * 100_000]
    return _INTEGERS[field.cpp_type]


def spoiled(message: Any, *, depth: int = 2) -> Iterator[tuple[str, Any]]:
    """The caller's message with one field changed, again and again, and that field's path; then as it was."""
    for field in message.DESCRIPTOR.fields:
        before = type(message)()
        before.CopyFrom(message)
        spoil = _scalars if field.message_type is None else _messages
        for path in spoil(message, field):
            yield path, message
            message.CopyFrom(before)
        if depth and field.message_type is not None:
            held = getattr(message, field.name)
            if field.is_repeated:
                held = held[0] if held else held.add()
            for path, _ in spoiled(held, depth=depth - 1):
                yield f"{field.name}.{path}", message
            message.CopyFrom(before)


def _scalars(message: Any, field: FieldDescriptor) -> Iterator[str]:
    for value in values(field):
        if not field.is_repeated:
            setattr(message, field.name, value)
            yield field.name
            continue
        for times in (1, 2, REPEATED_MAX if len(str(value)) < 100 else 3):
            message.ClearField(field.name)
            getattr(message, field.name).extend([value] * times)
            yield f"{field.name} * {times}"


def _messages(message: Any, field: FieldDescriptor) -> Iterator[str]:
    held = getattr(message, field.name)
    if not field.is_repeated:
        message.ClearField(field.name)
        yield field.name
        message.ClearField(field.name)
        getattr(message, field.name).SetInParent()
        yield f"{field.name} (empty)"
        return
    row = message_factory.GetMessageClass(field.message_type)()
    if held:
        row.CopyFrom(held[0])
    for times in (0, 2, REPEATED_MAX):
        message.ClearField(field.name)
        getattr(message, field.name).extend([row] * times)
        yield f"{field.name} * {times}"


def judge(answer: Answer) -> str:
    """What is wrong with it, or ""."""
    if answer.code is grpc.StatusCode.OK:
        return ""
    if answer.reason not in Reason.__members__:
        return f"no reason of ours: {answer}"
    if (
        answer.reason.startswith("INTERNAL")
        or answer.code is not grpc.StatusCode[CATALOGUE[Reason(answer.reason)].grpc]
    ):
        return f"{answer}"
    if PYTHON.search(ECHO.sub("", answer.text)):
        return f"our language shows: {answer.text[:500]}"
    if len(answer.text) > 1_000:
        return f"a text of {len(answer.text)} characters: {answer.text[:200]}"
    return ""


@pytest.mark.parametrize("method", METHODS)
def test_no_field_of_a_request_gets_an_internal_error(api: TestApi, method: str) -> None:
    request = REQUESTS[method](Things(api))
    found = []
    for path, message in spoiled(request):
        answer = attempt(api, method, message, api.operator.secret)
        if trouble := judge(answer):
            found.append(f"{path} = {str(message)[:200]!r}: {trouble}")

    assert found == []

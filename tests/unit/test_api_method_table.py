"""Which handler a call gets, and what takes part in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest

from ftc_core.errors import FtcError, Reason
from ftc_grpc.interceptors.wrapping import Behaviour, Interceptor
from ftc_grpc.method_table import MethodTable


class Call(NamedTuple):
    """As gRPC describes it."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class Recorder(Interceptor):
    """Writes down what it takes part in; refuses calls of the method `refuses`."""

    def __init__(self, name: str, said: list[str], refuses: str = "") -> None:
        self._name = name
        self._said = said
        self._refuses = refuses

    def admit(self, call: grpc.HandlerCallDetails) -> None:
        self._said.append(f"{self._name} admits")
        if call.method == self._refuses:
            raise PermissionError(call.method)

    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        self._said.append(f"{self._name} wraps")

        async def recorded(request: Any, context: Any) -> Any:
            self._said.append(f"{self._name} begins")
            try:
                return await behaviour(request, context)
            finally:
                self._said.append(f"{self._name} ends")

        return recorded


async def double(request: int, context: object) -> int:
    return 2 * request


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def find(said: list[str]) -> Callable[[str], Any]:
    table = MethodTable([Recorder("outer", said), Recorder("inner", said, refuses="/numbers/Secret")])
    methods = {name: grpc.unary_unary_rpc_method_handler(double) for name in ("Double", "Secret")}
    table.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("numbers", methods)])
    table.add_registered_method_handlers("numbers", methods)
    return lambda method: table.service(Call(method))


@pytest.mark.parametrize("method", ["/numbers/Halve", "/letters/Double", "", "/" + "x" * 10_000])
def test_a_method_that_there_is_not_concerns_the_outermost_interceptor_alone(
    find: Callable[[str], Any], said: list[str], method: str
) -> None:
    handler = find(method)

    with pytest.raises(FtcError) as caught:
        asyncio.run(handler.stream_stream(None, None))
    assert caught.value.reason is Reason.METHOD_UNKNOWN
    assert repr(method[:100])[:-1] in caught.value.message
    assert len(caught.value.message) < 300
    assert said == ["outer wraps", "outer begins", "outer ends"]


def test_interceptors_take_part_in_their_order(find: Callable[[str], Any], said: list[str]) -> None:
    handler = find("/numbers/Double")
    said.clear()

    assert asyncio.run(handler.unary_unary(21, None)) == 42
    assert said == ["outer begins", "inner begins", "inner ends", "outer ends"]


def test_a_method_is_wrapped_once_and_each_call_admitted(find: Callable[[str], Any], said: list[str]) -> None:
    handlers = {find("/numbers/Double") for _ in range(3)}

    assert len(handlers) == 1
    assert said == ["inner wraps", "outer wraps", *["outer admits", "inner admits"] * 3]


def test_a_refusal_is_seen_by_the_interceptors_before_the_one_that_refuses(
    find: Callable[[str], Any], said: list[str]
) -> None:
    handler = find("/numbers/Secret")
    said.clear()

    with pytest.raises(PermissionError, match="/numbers/Secret"):
        asyncio.run(handler.stream_stream(None, None))
    assert said == ["outer begins", "outer ends"]

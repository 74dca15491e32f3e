"""Server reflection that finds methods, too.

The protocol asks for files by "a fully-qualified symbol name (e.g. <package>.<service>[.<method>] or
<package>.<type>)" (grpc/reflection/v1alpha/reflection.proto), and some clients ask by method; Protobuf's pool
for Python knows services only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from grpc_reflection.v1alpha import reflection

__all__ = ["reflection_servicer"]


def reflection_servicer(services: Sequence[str]) -> Any:
    """What describes these services (full names)."""
    pool = cast(DescriptorPool, _MethodFindingPool())  # it is asked for what this one has, no more
    aio: Any = reflection.aio  # type: ignore[attr-defined] # not in its stubs
    return aio.ReflectionServicer(services, pool=pool)


class _MethodFindingPool:
    """The pool of all descriptors."""

    def __init__(self) -> None:
        pool: DescriptorPool = Default()
        self._pool = pool
        self.FindFileByName = pool.FindFileByName
        self.FindMessageTypeByName = pool.FindMessageTypeByName
        self.FindExtensionByNumber = pool.FindExtensionByNumber
        self.FindAllExtensions = pool.FindAllExtensions

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the pool's name
        """The file that defines a type, a service or a method. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            descriptor = self._pool.FindServiceByName(service)
            if method not in descriptor.methods_by_name:
                raise
            return descriptor.file

"""The one funnel through which errors leave: nothing else chooses a status, and no exception text leaks."""

from __future__ import annotations

from typing import Any, NoReturn

import structlog
from google.protobuf.message import Message
from grpc import aio

from ftc_core.errors import FtcError, Reason
from ftc_grpc.caller import caller_or_none
from ftc_grpc.interceptors.wrapping import Behaviour, Context, Interceptor
from ftc_grpc.resource_names import ACCOUNT
from ftc_grpc.status import STATUS_DETAILS_KEY, status_code, to_status

__all__ = ["ErrorInterceptor"]

_log = structlog.get_logger(__name__)


class ErrorInterceptor(Interceptor):
    """Turns FtcError into its status, and anything unforeseen into INTERNAL_10 with a logged traceback."""

    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        """See the class."""

        async def funnel(request: Any, context: Context) -> Any:
            try:
                return await behaviour(request, context)
            except aio.AbortError:
                raise  # the status is sent already
            except FtcError as error:
                await _abort(context, _outward(method, error), _resource_of(request))
            except Exception as error:
                _log.error("unexpected error", method=method, exc_info=error)
                await _abort(context, FtcError(Reason.INTERNAL_10), "")

        return funnel


def _outward(method: str, error: FtcError) -> FtcError:
    """What the caller is told of it: paths, and what libraries say, are for the log alone."""
    if error.reason.startswith("INTERNAL_"):
        _log.error(
            "internal error", method=method, reason=error.reason, message=error.message, **error.metadata
        )
        error.metadata.pop("cause", None)
    return error


def _resource_of(request: object) -> str:
    """The name that a request is about: AIP-131 and AIP-133 call it `name` or `parent`.

    In an update (AIP-134) it is the `name` of the resource that the request holds.
    """
    for field in ("name", "parent"):
        value = getattr(request, field, "")
        if isinstance(value, str) and value:
            return value
    if not isinstance(request, Message) or "update_mask" not in request.DESCRIPTOR.fields_by_name:
        return ""
    held = (getattr(value, "name", "") for _, value in request.ListFields())
    return next((name for name in held if isinstance(name, str) and name), "")


async def _abort(context: Context, error: FtcError, resource: str) -> NoReturn:
    caller = caller_or_none()
    account = ACCOUNT.format(caller.account_id) if caller is not None and caller.account_id else ""
    status = to_status(error, resource, account)
    await context.abort(
        status_code(error), status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),)
    )

"""Which calls the access log tells, and how loud."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from ftc_grpc.interceptors.call_log import CallLog, CallRecord

SERVICE = "/ftc.v1.DeviceEnrollmentService"


@pytest.mark.parametrize(
    ("method", "outcome", "level"),
    [
        (f"{SERVICE}/CreateDeviceEnrollment", "OK", "debug"),
        (f"{SERVICE}/ListDeviceEnrollments", "OK", "debug"),
        ("/grpc.health.v1.Health/Check", "OK", "debug"),
        (f"{SERVICE}/DeleteDeviceEnrollment", "OK", "info"),
        ("/ftc.v1.AccountService/CreateApiKey", "OK", "info"),
        (f"{SERVICE}/CreateDeviceEnrollment", "ENROLLMENT_ALREADY_EXISTS", "info"),
        (f"{SERVICE}/ListDeviceEnrollments", "CANCELLED", "info"),
        (f"{SERVICE}/CreateDeviceEnrollment", "INTERNAL_2", "warning"),
        ("/grpc.health.v1.Health/Check", "INTERNAL_10", "warning"),
    ],
)
def test_success_of_what_is_routine_is_for_debugging(method: str, outcome: str, level: str) -> None:
    record = CallRecord(
        method=method, outcome=outcome, seconds=0.1, account_id="", key_id="", uri="", peer="ipv4:127.0.0.1:1"
    )
    with capture_logs() as lines:
        CallLog()(record)

    assert [(line["log_level"], line["method"], line["outcome"]) for line in lines] == [
        (level, method, outcome)
    ]

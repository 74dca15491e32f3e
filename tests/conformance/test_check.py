"""The check of a store: nothing is found in a whole one."""

from __future__ import annotations

from ftc_core.storage.engines import check_store
from tests.conformance.scene import HOUR, NOW, Scene


def test_a_whole_store_has_no_fault(scene: Scene, url: str) -> None:
    account = scene.trusting_account()
    for number in range(4):
        scene.enrollment(account, number, expires_at=NOW + HOUR if number else None)
    scene.registered(1)
    scene.claim(2)
    scene.store.close()

    report = check_store(url)

    assert report.findings == ()
    assert report.passed
    assert report.counts["enrollments"] == 4

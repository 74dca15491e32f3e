"""What a device lists at its registration, as objects."""

from __future__ import annotations

import time

import pytest

from ftc_core.limits import COAP_BODY_MAX_BYTES
from ftc_core.lwm2m.object_links import RegisteredObject, parse_object_links


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        # LwM2M 1.0.2 TS §5.3.1, the example of a Register.
        ("</1/0>,</1/1>,</2/0>,</2/1>,</3/0>,</4/0>,</5>", {1: [0, 1], 2: [0, 1], 3: [0], 4: [0], 5: []}),
        # The same section: another root, and the version of an object.
        ('</lwm2m>;rt="oma.lwm2m", </lwm2m/1/0>,</lwm2m/3/0>', {1: [0], 3: [0]}),
        ('</>;rt="oma.lwm2m";ct="60 110 112",</3/0>,</1>', {1: [], 3: [0]}),
        ('</lwm2m/>;rt="core.rd oma.lwm2m",</lwm2m/3/0/>', {3: [0]}),
        ("</3/1>,</3/0>,</3/1>", {3: [0, 1]}),
        ("</3/0/1>,</a/b>,<coap://x/1/0>,</65536/0>,</65535/65535>", {65535: [65535]}),
        ("</5/65536>", {5: []}),
        ("", {}),
        ("no links at all", {}),
        ("</1/0>,</3/0", {}),
        ("   </1/0>  ,   </3/0>   ", {1: [0], 3: [0]}),
    ],
)
def test_objects_are_listed_with_their_instances(text: str, objects: dict[int, list[int]]) -> None:
    assert {found.id: list(found.instances) for found in parse_object_links(text)} == objects


def test_versions_are_those_of_the_links() -> None:
    text = '</3>;ver=1.1,</3/0>,</5/0>;ver="2.0";ver=9.9,</6/0>;ver,</7/0>;ver=new'

    assert parse_object_links(text) == (
        RegisteredObject(3, "1.1", (0,)),
        RegisteredObject(5, "2.0", (0,)),
        RegisteredObject(6, "", (0,)),
        RegisteredObject(7, "", (0,)),
    )


@pytest.mark.parametrize("text", [" ", "<", '</1/0>;a="' + "\\", " ;", "\t ", ",</1/0>;a=b", "</1/0>;"])
def test_no_payload_that_can_be_registered_is_hard_work(text: str) -> None:
    started = time.process_time()
    parse_object_links(text * (COAP_BODY_MAX_BYTES // len(text)))
    assert time.process_time() - started < 0.5  # milliseconds; what grows with the square takes seconds

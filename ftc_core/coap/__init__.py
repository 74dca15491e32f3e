"""CoAP (RFC 7252, RFC 7959) as sans-IO state machines over aiocoap's message codec."""

"""The catalogue of errors: one reason, one text, one gRPC code and one CoAP code each.

Every refusal that leaves the system, over gRPC, over CoAP or on a terminal, is an `FtcError` with a
`Reason` from the table below. Nothing else may choose a status code.

Sources: PRODUCT contract §1 (claim reasons and texts, kept verbatim), RFC 7252 §5.9 (CoAP codes), the
gRPC status codes, AIP-193 (error details).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CATALOGUE", "ErrorSpec", "FtcError", "Reason"]


class Reason(StrEnum):
    """Machine-readable cause: `ErrorInfo.reason` in gRPC, a label value in metrics and logs."""

    # The claim decision (domain.claim), in its order.
    CA_NOT_UPLOADED = "CA_NOT_UPLOADED"
    HANDSHAKE_FAILED = "HANDSHAKE_FAILED"
    DEVICE_BLOCKED = "DEVICE_BLOCKED"
    CERTIFICATE_BLOCKED = "CERTIFICATE_BLOCKED"
    ENROLLMENT_NOT_FOUND = "ENROLLMENT_NOT_FOUND"
    CLAIM_TOO_EARLY = "CLAIM_TOO_EARLY"
    CLAIM_PROOF_REQUIRED = "CLAIM_PROOF_REQUIRED"
    CLAIM_PROOF_INVALID = "CLAIM_PROOF_INVALID"
    CLAIM_SECRET_MISSING = "CLAIM_SECRET_MISSING"  # noqa: S105 - a word, no password
    CA_NOT_IN_ACCOUNT = "CA_NOT_IN_ACCOUNT"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    DUPLICATE_ENDPOINT = "DUPLICATE_ENDPOINT"
    QUOTA_REACHED = "QUOTA_REACHED"
    # Our own failures, numbered as the device sees them.
    INTERNAL_1 = "INTERNAL_1"  # store unavailable
    INTERNAL_2 = "INTERNAL_2"  # store full
    INTERNAL_3 = "INTERNAL_3"  # commit lost
    INTERNAL_4 = "INTERNAL_4"  # credential issuer failed
    INTERNAL_5 = "INTERNAL_5"  # index corrupt
    INTERNAL_6 = "INTERNAL_6"  # configuration invalid
    INTERNAL_7 = "INTERNAL_7"  # session lost
    INTERNAL_8 = "INTERNAL_8"  # write rejected by the device
    INTERNAL_9 = "INTERNAL_9"  # timed out
    INTERNAL_10 = "INTERNAL_10"  # bug
    OVERLOADED = "OVERLOADED"
    # What a device can get wrong in a request.
    ENDPOINT_NAME_MISSING = "ENDPOINT_NAME_MISSING"
    ENDPOINT_NAME_TOO_LONG = "ENDPOINT_NAME_TOO_LONG"
    ENDPOINT_NAME_INVALID = "ENDPOINT_NAME_INVALID"
    ENDPOINT_NAME_MISMATCH = "ENDPOINT_NAME_MISMATCH"
    ACCOUNT_ID_MALFORMED = "ACCOUNT_ID_MALFORMED"
    CONTENT_FORMAT_UNSUPPORTED = "CONTENT_FORMAT_UNSUPPORTED"
    ACCEPT_UNSUPPORTED = "ACCEPT_UNSUPPORTED"
    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    OPTION_NOT_UNDERSTOOD = "OPTION_NOT_UNDERSTOOD"
    PROXYING_NOT_SUPPORTED = "PROXYING_NOT_SUPPORTED"
    PATH_NOT_FOUND = "PATH_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    REQUEST_INCOMPLETE = "REQUEST_INCOMPLETE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    LIFETIME_INVALID = "LIFETIME_INVALID"
    CREDENTIALS_RELEASED = "CREDENTIALS_RELEASED"
    BOOTSTRAP_REQUIRED = "BOOTSTRAP_REQUIRED"
    SIGNING_REQUEST_INVALID = "SIGNING_REQUEST_INVALID"
    CERTIFICATE_NOT_REQUESTED = "CERTIFICATE_NOT_REQUESTED"
    REGISTRATION_NOT_FOUND = "REGISTRATION_NOT_FOUND"
    # What an API client or an operator can get wrong.
    FIELD_INVALID = "FIELD_INVALID"
    FIELD_REQUIRED = "FIELD_REQUIRED"
    ENROLLMENT_ID_INVALID = "ENROLLMENT_ID_INVALID"
    ENROLLMENT_ID_VERSION_UNSUPPORTED = "ENROLLMENT_ID_VERSION_UNSUPPORTED"
    CERTIFICATE_UNPARSEABLE = "CERTIFICATE_UNPARSEABLE"
    CERTIFICATE_NOT_CA = "CERTIFICATE_NOT_CA"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    CERTIFICATE_KEY_UNSUPPORTED = "CERTIFICATE_KEY_UNSUPPORTED"
    CERTIFICATE_CHAIN_BROKEN = "CERTIFICATE_CHAIN_BROKEN"
    METHOD_UNKNOWN = "METHOD_UNKNOWN"
    RESOURCE_NAME_INVALID = "RESOURCE_NAME_INVALID"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 - a word, no password
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    CERTIFICATE_NOT_MAPPED = "CERTIFICATE_NOT_MAPPED"
    CERTIFICATE_AMBIGUOUS = "CERTIFICATE_AMBIGUOUS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    ENROLLMENT_ALREADY_EXISTS = "ENROLLMENT_ALREADY_EXISTS"
    CERTIFICATE_ALREADY_EXISTS = "CERTIFICATE_ALREADY_EXISTS"
    RESOURCE_ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
    ACCOUNT_NOT_EMPTY = "ACCOUNT_NOT_EMPTY"
    OWN_KEY = "OWN_KEY"
    TRANSFER_TO_SELF = "TRANSFER_TO_SELF"
    TRANSFER_WRONG_SIDE = "TRANSFER_WRONG_SIDE"
    TRANSFER_DEVICE_OFFERED = "TRANSFER_DEVICE_OFFERED"
    TRANSFER_DECIDED = "TRANSFER_DECIDED"
    TRANSFER_EXPIRED = "TRANSFER_EXPIRED"
    TRANSFER_OUTDATED = "TRANSFER_OUTDATED"
    TRANSFER_CODE_INVALID = "TRANSFER_CODE_INVALID"
    TRANSFER_CODE_LIMIT_REACHED = "TRANSFER_CODE_LIMIT_REACHED"
    TRANSFER_LIMIT_REACHED = "TRANSFER_LIMIT_REACHED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    ROW_TOO_LONG = "ROW_TOO_LONG"
    ROW_NOT_UTF8 = "ROW_NOT_UTF8"
    UPLOAD_TOO_LARGE = "UPLOAD_TOO_LARGE"
    OPERATION_CANCELLED = "OPERATION_CANCELLED"
    OPERATION_UNFINISHED = "OPERATION_UNFINISHED"
    OPERATION_LIMIT_REACHED = "OPERATION_LIMIT_REACHED"
    LEDGER_EXPORT_RUNNING = "LEDGER_EXPORT_RUNNING"
    LEDGER_NOT_VERIFIED = "LEDGER_NOT_VERIFIED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    REVISION_COMPACTED = "REVISION_COMPACTED"
    REVISION_AHEAD = "REVISION_AHEAD"
    CONSUMER_TOO_SLOW = "CONSUMER_TOO_SLOW"
    API_UNREACHABLE = "API_UNREACHABLE"
    # What stops a command on the operator's own machine.
    DATA_DIRECTORY_MISSING = "DATA_DIRECTORY_MISSING"
    DATA_DIRECTORY_IN_USE = "DATA_DIRECTORY_IN_USE"
    DATA_DIRECTORY_INCOMPATIBLE = "DATA_DIRECTORY_INCOMPATIBLE"
    SERVER_CA_EXPIRED = "SERVER_CA_EXPIRED"
    INSTANCE_NOT_WHOLE = "INSTANCE_NOT_WHOLE"
    FILE_EXISTS = "FILE_EXISTS"
    FILE_UNREADABLE = "FILE_UNREADABLE"
    DISK_FULL = "DISK_FULL"
    BACKUP_EXISTS = "BACKUP_EXISTS"
    BACKUP_DAMAGED = "BACKUP_DAMAGED"
    BACKUP_INCOMPATIBLE = "BACKUP_INCOMPATIBLE"
    RESTORE_TARGET_NOT_EMPTY = "RESTORE_TARGET_NOT_EMPTY"
    PORT_IN_USE = "PORT_IN_USE"
    SETTING_INVALID = "SETTING_INVALID"
    BUNDLE_INVALID = "BUNDLE_INVALID"
    DEVICE_REFUSED = "DEVICE_REFUSED"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One row of the catalogue.

    `grpc` is the name of the gRPC status code; `coap` the dotted CoAP code ("4.03"), or "" where no
    device can meet this error; `text` the message (a device gets it verbatim as diagnostic payload, so
    claim texts stay under 63 characters with the code name); `action` what the reader should do next.
    """

    grpc: str
    coap: str
    text: str
    action: str


_SUPPORT = "Retry; if it stays, look at the server log and metrics for this number."

CATALOGUE: Mapping[Reason, ErrorSpec] = {
    Reason.CA_NOT_UPLOADED: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",  # only if the CA was withdrawn after the handshake, which otherwise fails with an alert
        "Secure Connection Failed",
        "Upload the CA that issued the device certificate as an ACTIVE BOOTSTRAP trusted certificate.",
    ),
    Reason.HANDSHAKE_FAILED: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "DTLS handshake failed",
        "The device presented no certificate, or does not have its key, or offers nothing that we speak.",
    ),
    Reason.DEVICE_BLOCKED: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Device blocked",
        "Whoever blocked the device, its owner or the operator, can lift that with `ftc device unblock`.",
    ),
    Reason.CERTIFICATE_BLOCKED: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Issuing certificate blocked",
        "Whoever blocked the CA, the account or the operator, can lift that with `ftc cert unblock`.",
    ),
    Reason.ENROLLMENT_NOT_FOUND: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Enrollment ID not registered",
        "Add the device's enrollment ID to the account's enrollment list; the device retries by itself.",
    ),
    Reason.CLAIM_TOO_EARLY: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Enrollment is not open yet",
        "Wait until the enrollment's claim_not_before; the device retries by itself.",
    ),
    Reason.CLAIM_PROOF_REQUIRED: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Claim secret not proved",
        "The enrollment has a claim secret that the device lacks: enroll it without one.",
    ),
    Reason.CLAIM_PROOF_INVALID: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Claim secret does not match",
        "Enroll the device again, with the claim secret that came with it.",
    ),
    Reason.CLAIM_SECRET_MISSING: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Enrollment has no claim secret",
        "Enroll the device again, with the claim secret that came with it.",
    ),
    Reason.CA_NOT_IN_ACCOUNT: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.00",
        "Corresponding trusted certificate not in account",
        "Upload the issuing CA to the account that enrolled the device, with enrollment_mode set.",
    ),
    Reason.ACCOUNT_SUSPENDED: ErrorSpec(
        "FAILED_PRECONDITION", "4.03", "Account suspended", "Ask the operator to reactivate the account."
    ),
    Reason.DUPLICATE_ENDPOINT: ErrorSpec(
        "ALREADY_EXISTS",
        "4.03",
        "Duplicated device endpoint name",
        "Another certificate holds this endpoint name in the account: release that device first.",
    ),
    Reason.QUOTA_REACHED: ErrorSpec(
        "RESOURCE_EXHAUSTED",
        "4.03",
        "Account device quota reached",
        "Release devices or have the operator raise the account's device_quota.",
    ),
    Reason.INTERNAL_1: ErrorSpec(
        "UNAVAILABLE", "5.00", "Internal error #1", "The store is unavailable. " + _SUPPORT
    ),
    Reason.INTERNAL_2: ErrorSpec(
        "RESOURCE_EXHAUSTED",
        "5.00",
        "Internal error #2",
        "The store is full: raise its map size or free disk.",
    ),
    Reason.INTERNAL_3: ErrorSpec(
        "UNAVAILABLE", "5.00", "Internal error #3", "A commit was lost. " + _SUPPORT
    ),
    Reason.INTERNAL_4: ErrorSpec(
        "INTERNAL", "5.00", "Internal error #4", "The credential issuer failed. " + _SUPPORT
    ),
    Reason.INTERNAL_5: ErrorSpec(
        "DATA_LOSS", "5.00", "Internal error #5", "The index is corrupt: restore a backup."
    ),
    Reason.INTERNAL_6: ErrorSpec(
        "INTERNAL", "5.00", "Internal error #6", "The configuration is invalid: see the log."
    ),
    Reason.INTERNAL_7: ErrorSpec(
        "ABORTED", "5.00", "Internal error #7", "The session was lost; the device retries."
    ),
    Reason.INTERNAL_8: ErrorSpec(
        "ABORTED", "5.00", "Internal error #8", "The device rejected a write: see its log."
    ),
    Reason.INTERNAL_9: ErrorSpec("DEADLINE_EXCEEDED", "5.00", "Internal error #9", "Timed out; retry."),
    Reason.INTERNAL_10: ErrorSpec("INTERNAL", "5.00", "Internal error #10", "A bug: report it with the log."),
    Reason.OVERLOADED: ErrorSpec("UNAVAILABLE", "5.03", "Overloaded", "Retry with back-off."),
    Reason.ENDPOINT_NAME_MISSING: ErrorSpec(
        "INVALID_ARGUMENT", "4.00", "ep is missing", "Send ep=<endpoint name> as a Uri-Query option."
    ),
    Reason.ENDPOINT_NAME_TOO_LONG: ErrorSpec(
        "INVALID_ARGUMENT",
        "4.00",
        "ep is longer than 256 bytes",
        "Use an endpoint name of at most 256 bytes.",
    ),
    Reason.ENDPOINT_NAME_INVALID: ErrorSpec(
        "INVALID_ARGUMENT", "4.00", "ep is not valid UTF-8", "Send the endpoint name as UTF-8."
    ),
    Reason.ENDPOINT_NAME_MISMATCH: ErrorSpec(
        "INVALID_ARGUMENT",
        "4.00",
        "ep does not match the certificate",
        "Use the certificate's common name as endpoint name.",
    ),
    Reason.ACCOUNT_ID_MALFORMED: ErrorSpec(
        "INVALID_ARGUMENT", "4.00", "aid is not an account ID", "Send aid as 32 lower-case hex characters."
    ),
    Reason.CONTENT_FORMAT_UNSUPPORTED: ErrorSpec(
        "INVALID_ARGUMENT",
        "4.15",
        "pct is not supported",
        "Prefer content format 11542 (LwM2M TLV), 112 or 110 (SenML CBOR, JSON) or 11544 (LwM2M CBOR).",
    ),
    Reason.ACCEPT_UNSUPPORTED: ErrorSpec(
        "INVALID_ARGUMENT",
        "4.06",
        "Accept is not supported",
        "Accept content format 112 or 110 (SenML CBOR, JSON) or 11544 (LwM2M CBOR), for a certificate 281 "
        "(PKCS#7) or 287 (DER).",
    ),
    Reason.REQUEST_MALFORMED: ErrorSpec(
        "INVALID_ARGUMENT", "4.00", "Malformed request", "Check the request."
    ),
    Reason.OPTION_NOT_UNDERSTOOD: ErrorSpec(
        "INVALID_ARGUMENT",
        "4.02",
        "Critical option not understood",
        "Leave the option out (RFC 7252 §5.4.1).",
    ),
    Reason.PROXYING_NOT_SUPPORTED: ErrorSpec(
        "UNIMPLEMENTED", "5.05", "Not a proxy", "Leave Proxy-Uri and Proxy-Scheme out (RFC 7252 §5.10.2)."
    ),
    Reason.PATH_NOT_FOUND: ErrorSpec("NOT_FOUND", "4.04", "No such resource", "Use POST /bs or POST /rd."),
    Reason.METHOD_NOT_ALLOWED: ErrorSpec("UNIMPLEMENTED", "4.05", "Method not allowed", "Use POST."),
    Reason.REQUEST_INCOMPLETE: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.08",
        "Blocks are missing",
        "Send the blocks in order from number 0 (RFC 7959 §2.9.2).",
    ),
    Reason.REQUEST_TOO_LARGE: ErrorSpec(
        "INVALID_ARGUMENT", "4.13", "Request too large", "Keep the payload within the size given by Size1."
    ),
    Reason.LIFETIME_INVALID: ErrorSpec(
        "INVALID_ARGUMENT", "4.00", "lt is not a lifetime", "Send lt as seconds, 1 to 4294967295."
    ),
    Reason.CREDENTIALS_RELEASED: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "Device released",
        "Bootstrap again to get the current owner's credentials.",
    ),
    Reason.BOOTSTRAP_REQUIRED: ErrorSpec(
        "FAILED_PRECONDITION",
        "4.03",
        "No bootstrap waits for a certificate",
        "Send a Bootstrap-Request on this DTLS session first; it entitles to one certificate.",
    ),
    Reason.SIGNING_REQUEST_INVALID: ErrorSpec(
        "INVALID_ARGUMENT",
        "4.00",
        "CSR is invalid",
        "Send PKCS#10 in DER: a P-256 key, SHA-256 or longer, and in the subject no other CN, L or OU than "
        "the device's endpoint name, ID and account.",
    ),
    Reason.CERTIFICATE_NOT_REQUESTED: ErrorSpec(
        "DEADLINE_EXCEEDED",
        "",  # there is no request to answer
        "The device asked for no certificate",
        "Its client may not know security mode 4 (EST): then set lwm2m_credentials to delivered.",
    ),
    Reason.REGISTRATION_NOT_FOUND: ErrorSpec(
        "NOT_FOUND", "4.04", "Not registered", "Register again with POST /rd (LwM2M 1.0 §5.3.2)."
    ),
    Reason.FIELD_INVALID: ErrorSpec(
        "INVALID_ARGUMENT", "", "A field is invalid", "Correct the field that is named."
    ),
    Reason.FIELD_REQUIRED: ErrorSpec("INVALID_ARGUMENT", "", "A required field is missing", "Set the field."),
    Reason.ENROLLMENT_ID_INVALID: ErrorSpec(
        "INVALID_ARGUMENT",
        "",
        "enrollment ID is not 'A-' and 32 hex octets joined by ':'",
        "Take it from `ftc enrollment-id CERT` or the device's label.",
    ),
    Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED: ErrorSpec(
        "INVALID_ARGUMENT",
        "",
        "enrollment ID version is not supported; supported: A",
        "Use an ID that starts with 'A-'.",
    ),
    Reason.CERTIFICATE_UNPARSEABLE: ErrorSpec(
        "INVALID_ARGUMENT", "", "certificate is not PEM", "Upload a PEM file with BEGIN CERTIFICATE lines."
    ),
    Reason.CERTIFICATE_NOT_CA: ErrorSpec(
        "INVALID_ARGUMENT",
        "",
        "certificate is not a CA certificate",
        "Upload the CA that issues device certificates.",
    ),
    Reason.CERTIFICATE_EXPIRED: ErrorSpec(
        "INVALID_ARGUMENT",
        "",
        "certificate has expired or is not yet valid",
        "Upload a CA certificate that is valid now.",
    ),
    Reason.CERTIFICATE_KEY_UNSUPPORTED: ErrorSpec(
        "INVALID_ARGUMENT",
        "",
        "certificate key is not supported",
        "Use EC P-256 or larger, or RSA of 2048 bits or more.",
    ),
    Reason.CERTIFICATE_CHAIN_BROKEN: ErrorSpec(
        "INVALID_ARGUMENT", "", "certificates do not form a chain", "Give the chain in order, root to leaf."
    ),
    Reason.METHOD_UNKNOWN: ErrorSpec(
        "UNIMPLEMENTED",
        "",
        "there is no such method",
        "Ask server reflection what is served; a client that is newer than the server has methods it lacks.",
    ),
    Reason.RESOURCE_NAME_INVALID: ErrorSpec(
        "INVALID_ARGUMENT", "", "resource name is malformed", "Use the form that the message shows."
    ),
    Reason.PAGE_TOKEN_INVALID: ErrorSpec(
        "INVALID_ARGUMENT", "", "page token does not belong to this query", "Start again without page_token."
    ),
    Reason.CREDENTIALS_MISSING: ErrorSpec(
        "UNAUTHENTICATED", "", "no API key", "Send the header 'authorization: Bearer ftc_<key id>_<secret>'."
    ),
    Reason.CREDENTIALS_INVALID: ErrorSpec(
        "UNAUTHENTICATED",
        "",
        "API key is not valid",
        "Check the key, or have an administrator create another.",
    ),
    Reason.CERTIFICATE_NOT_MAPPED: ErrorSpec(
        "UNAUTHENTICATED",
        "",
        "client certificate stands for nobody",
        "Have the operator map a URI of its subjectAltName (setting mtls_identities), or send an API key.",
    ),
    Reason.CERTIFICATE_AMBIGUOUS: ErrorSpec(
        "UNAUTHENTICATED",
        "",
        "client certificate stands for several identities",
        "Use a certificate with one mapped URI, or send an API key.",
    ),
    Reason.PERMISSION_DENIED: ErrorSpec(
        "PERMISSION_DENIED",
        "",
        "role does not allow this method",
        "Use a key with the role that the message names.",
    ),
    Reason.RESOURCE_NOT_FOUND: ErrorSpec(
        "NOT_FOUND", "", "resource not found", "Check the name; list the collection."
    ),
    Reason.ENROLLMENT_ALREADY_EXISTS: ErrorSpec(
        "ALREADY_EXISTS",
        "",
        "enrollment identity is already on an enrollment list",
        "Its present owner must release it first.",
    ),
    Reason.CERTIFICATE_ALREADY_EXISTS: ErrorSpec(
        "ALREADY_EXISTS",
        "",
        "this CA is already uploaded to the account",
        "Use the existing trusted certificate.",
    ),
    Reason.RESOURCE_ALREADY_EXISTS: ErrorSpec(
        "ALREADY_EXISTS", "", "resource already exists", "Use the existing one."
    ),
    Reason.ACCOUNT_NOT_EMPTY: ErrorSpec(
        "FAILED_PRECONDITION", "", "account is not empty", "Delete first what the message names."
    ),
    Reason.OWN_KEY: ErrorSpec("FAILED_PRECONDITION", "", "a key cannot delete itself", "Use another key."),
    Reason.TRANSFER_TO_SELF: ErrorSpec(
        "INVALID_ARGUMENT", "", "an account cannot transfer devices to itself", "Name another account."
    ),
    Reason.TRANSFER_WRONG_SIDE: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "the other account decides this",
        "The receiver accepts or rejects a transfer; the account that offers it cancels it.",
    ),
    Reason.TRANSFER_DEVICE_OFFERED: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "device is in another open transfer",
        "Cancel the transfer that the message names, or wait for its end.",
    ),
    Reason.TRANSFER_DECIDED: ErrorSpec(
        "FAILED_PRECONDITION", "", "transfer is already decided", "Have its devices offered anew."
    ),
    Reason.TRANSFER_EXPIRED: ErrorSpec(
        "FAILED_PRECONDITION", "", "transfer has expired", "Have its devices offered anew."
    ),
    Reason.TRANSFER_OUTDATED: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "a device is no longer the owner's to give",
        "Have the transfer cancelled, and the remaining devices offered anew.",
    ),
    Reason.TRANSFER_CODE_INVALID: ErrorSpec(
        "NOT_FOUND",
        "",
        "no open transfer has this code",
        "Check the code with whoever gave it to you; each works for one acceptance.",
    ),
    Reason.TRANSFER_CODE_LIMIT_REACHED: ErrorSpec(
        "RESOURCE_EXHAUSTED", "", "too many wrong transfer codes", "Wait, then try the right code."
    ),
    Reason.TRANSFER_LIMIT_REACHED: ErrorSpec(
        "RESOURCE_EXHAUSTED",
        "",
        "account has too many transfers",
        "Wait until decided ones are forgotten (30 days), or put more devices into one.",
    ),
    Reason.REQUEST_ID_REUSED: ErrorSpec(
        "INVALID_ARGUMENT",
        "",
        "request_id was used for another request",
        "Use a fresh UUID for each request.",
    ),
    Reason.ETAG_MISMATCH: ErrorSpec(
        "ABORTED", "", "etag does not match", "Read the resource again and retry."
    ),
    Reason.ROW_TOO_LONG: ErrorSpec(
        "INVALID_ARGUMENT", "", "row is too long", "One row is one line: look for missing line ends."
    ),
    Reason.ROW_NOT_UTF8: ErrorSpec("INVALID_ARGUMENT", "", "row is not UTF-8", "Save the file as UTF-8."),
    Reason.UPLOAD_TOO_LARGE: ErrorSpec(
        "INVALID_ARGUMENT", "", "upload is too large", "Split the file: each part needs a first line."
    ),
    Reason.OPERATION_CANCELLED: ErrorSpec(
        "CANCELLED", "", "operation was cancelled", "Read its report for the rows that were done before."
    ),
    Reason.OPERATION_UNFINISHED: ErrorSpec(
        "FAILED_PRECONDITION", "", "operation is not finished", "Cancel it first, or wait for its end."
    ),
    Reason.OPERATION_LIMIT_REACHED: ErrorSpec(
        "RESOURCE_EXHAUSTED",
        "",
        "account has too many operations",
        "Delete operations that are done, or wait until they are swept (setting operation_retention_days).",
    ),
    Reason.LEDGER_EXPORT_RUNNING: ErrorSpec(
        "RESOURCE_EXHAUSTED",
        "",
        "the account's ledger is being exported already",
        "Wait for the end of that export, or end it.",
    ),
    Reason.LEDGER_NOT_VERIFIED: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "the ledger is not what was signed",
        "Keep what you have, export the ledger anew and verify that; docs/ledger.md says what findings mean.",
    ),
    Reason.SHUTTING_DOWN: ErrorSpec("UNAVAILABLE", "5.00", "Server is shutting down", "Retry."),
    Reason.REVISION_COMPACTED: ErrorSpec(
        "OUT_OF_RANGE",
        "",
        "events of this revision are no longer kept",
        "List again, and watch from the revision after the list's.",
    ),
    Reason.REVISION_AHEAD: ErrorSpec(
        "OUT_OF_RANGE",
        "",
        "the store has not reached this revision",
        "It may have been restored from a backup: list again, and watch from the revision after the list's.",
    ),
    Reason.CONSUMER_TOO_SLOW: ErrorSpec(
        "RESOURCE_EXHAUSTED",
        "",
        "events came faster than they were read",
        "Watch again from the revision after the last one received.",
    ),
    Reason.API_UNREACHABLE: ErrorSpec(
        "UNAVAILABLE",
        "",
        "the API gives no answer",
        "Check that `ftc serve` runs, and the endpoint and its CA.",
    ),
    Reason.DATA_DIRECTORY_MISSING: ErrorSpec(
        "FAILED_PRECONDITION", "", "no data directory", "Run `ftc init` first."
    ),
    Reason.DATA_DIRECTORY_IN_USE: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "data directory is in use by another instance",
        "Stop the other `ftc serve` first.",
    ),
    Reason.DATA_DIRECTORY_INCOMPATIBLE: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "data directory has another format",
        "Use the version of ftc that wrote it.",
    ),
    Reason.SERVER_CA_EXPIRED: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "the CA of our servers has expired",
        "Make a data directory anew, or restore a later one: devices must be given another CA.",
    ),
    Reason.INSTANCE_NOT_WHOLE: ErrorSpec(
        "DATA_LOSS",
        "",
        "the instance's data is not whole",
        "Keep a copy of the data directory as it is; what to do about each kind of fault is printed above.",
    ),
    Reason.FILE_EXISTS: ErrorSpec(
        "ALREADY_EXISTS", "", "file exists", "Choose another place, or remove it yourself."
    ),
    Reason.FILE_UNREADABLE: ErrorSpec(
        "NOT_FOUND", "", "file cannot be read", "Check the path and its permissions."
    ),
    Reason.DISK_FULL: ErrorSpec(
        "RESOURCE_EXHAUSTED", "", "no room on the disk", "Free disk space, or choose another place."
    ),
    Reason.BACKUP_EXISTS: ErrorSpec(
        "ALREADY_EXISTS",
        "",
        "there is a file of that name",
        "Choose another name, or overwrite it with --force.",
    ),
    Reason.BACKUP_DAMAGED: ErrorSpec(
        "DATA_LOSS",
        "",
        "the backup is damaged",
        "Take another backup, or another copy of this one; nothing was restored.",
    ),
    Reason.BACKUP_INCOMPATIBLE: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "the backup has another format",
        "Restore it with the version of ftc that made it.",
    ),
    Reason.RESTORE_TARGET_NOT_EMPTY: ErrorSpec(
        "FAILED_PRECONDITION",
        "",
        "there is something in that place already",
        "Move it away (with `ftc serve` stopped), or name another directory; nothing is ever overwritten.",
    ),
    Reason.PORT_IN_USE: ErrorSpec(
        "FAILED_PRECONDITION", "", "port is in use", "Stop its user or choose another port."
    ),
    Reason.SETTING_INVALID: ErrorSpec(
        "INVALID_ARGUMENT", "", "setting is invalid", "Correct the setting that is named."
    ),
    Reason.BUNDLE_INVALID: ErrorSpec(
        "FAILED_PRECONDITION", "", "device bundle is invalid", "Make one with `ftc factory provision`."
    ),
    Reason.DEVICE_REFUSED: ErrorSpec(
        "FAILED_PRECONDITION", "", "the server refused the device", "See the text it sent."
    ),
}


class FtcError(Exception):
    """A refusal with its reason; renders itself to every wire through `CATALOGUE`.

    `message` defaults to the catalogue's text. `field` names the request field at fault (for
    `BadRequest`), `resource` the resource name concerned (for `ResourceInfo`), `metadata` further facts
    for `ErrorInfo` (never secrets), `retry_after_s` a hint in seconds (for `RetryInfo` or Max-Age).
    """

    def __init__(
        self,
        reason: Reason,
        message: str = "",
        *,
        field: str = "",
        resource: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.reason = reason
        self.message = message or CATALOGUE[reason].text
        self.field = field
        self.resource = resource
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    @property
    def spec(self) -> ErrorSpec:
        """This reason's row of the catalogue."""
        return CATALOGUE[self.reason]

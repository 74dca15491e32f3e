"""Every bound of the system in one place: its value, its unit, and why it is what it is."""

from __future__ import annotations

# --- names and texts -------------------------------------------------------------------------------
ENDPOINT_NAME_MAX_BYTES = 256
"""Bytes of UTF-8 in an endpoint name (PRODUCT §1)."""
DISPLAY_NAME_MAX_CHARS = 100
"""Characters in a display name (PRODUCT §1)."""
DESCRIPTION_MAX_CHARS = 500
"""Characters in a description (PRODUCT §1)."""
CERTIFICATE_PEM_MAX_BYTES = 64 * 1024
"""Bytes of PEM in one upload: a chain of ten RSA-4096 certificates is 25 KB."""
CERTIFICATE_CHAIN_MAX = 10
"""Certificates in one uploaded chain."""

# --- DTLS ------------------------------------------------------------------------------------------
DATAGRAM_MAX_BYTES = 65_535
"""Largest UDP payload that we read; more cannot arrive."""
DTLS_MTU_BYTES = 1_200
"""UDP payload that we send at most: fits IPv6's minimum MTU of 1,280 with tunnels to spare."""
DTLS_MTU_FALLBACK_BYTES = 548
"""UDP payload after a flight was lost twice: the 576 bytes that every IPv4 host takes (RFC 791 §3.1), less
headers of 28."""
DTLS_MTU_MIN_BYTES = 296
"""Least UDP payload that can be set: a block of 128 bytes fits, and OpenSSL takes no less than 228."""
DTLS_MTU_MAX_BYTES = 1_472
"""Largest UDP payload that can be set: Ethernet's 1,500 bytes, less headers of 28."""
COAP_OVERHEAD_BYTES = 64
"""Bytes that a block of ours may need around it in a datagram: CoAP header, token and options."""
RESUMPTION_LIFETIME_MAX_S = 302_400
"""Seconds for which a session may be resumed at most: half the life of a ticket key (RFC 9325 §3.4)."""
TICKET_KEY_LIFETIME_S = 604_800.0
"""Seconds for which session tickets' keys are used, for the first half of them to seal (RFC 9325 §3.4)."""
TICKET_GENERATIONS_AHEAD = 2
"""Generations of ticket keys, each sealing for half a key's life, that a bootstrap worker has besides that of
the moment. It is replaced in the last of them: after half a week at the earliest, 1.5 weeks at the latest.
That is also how far into the future the tickets go that what is in its memory could open."""
PRESENTED_CHAINS_KEPT_MAX = 10_000
"""Devices with intermediates whose chain one worker remembers for a resumption: 10 MB at 1 KB each."""
PROVEN_PATHS_KEPT_MAX = 20_000
"""Paths whose signatures one process remembers to have checked: 8 MB at 400 bytes each."""
HANDSHAKE_MAX_BYTES = 16 * 1024
"""Bytes that a peer may send before it is authenticated: three RSA-4096 certificates fit with ease."""
HANDSHAKE_MAX_DATAGRAMS = 60
"""Datagrams that a peer may send before it is authenticated, its retransmissions included."""
HANDSHAKE_TIMEOUT_S = 60.0
"""Seconds from the proven ClientHello to the end of the handshake: retransmissions after 1, 2, 4, 8 and 16 s
fit (31 s), and half a minute besides for small devices, which take tens of seconds for their part in software
or on a slow radio. Below the 120 s for which they try: the place is free when they come again."""
DEVICE_HANDSHAKE_TIMEOUT_S = 30.0
"""The same for the device of `ftc device run`: it is quick, and somebody waits to see what is wrong."""
TRUST_CANDIDATES_MAX = 16
"""CAs with the wanted subject that are tried for one device (rotation, look-alikes): bounds our CPU."""
PRESENTED_CHAIN_MAX = 6
"""Certificates that a device may present, leaf included."""
TRUST_ANCHORS_KEPT_MAX = 1_024
"""CAs that one process keeps parsed for path validation; a few KiB each, and 14 µs to parse again."""
COOKIE_EPOCH_S = 60.0
"""Seconds for which a cookie secret's tick lasts; a cookie is good for this and the next tick."""
ASSOCIATIONS_MAX = 20_000
"""Associations held by one worker: about 1.8 GB at 90 KiB each."""
RECEIVE_BATCH = 64
"""Datagrams drained per wake-up before timers get their turn."""
TURN_BUDGET_S = 0.008
"""Seconds after which a wake-up that has more to do lets others have their turn."""
APPROACHING_MAX = 4_096
"""Peers of one worker that wait for their handshake or are in it: 600 a second for half of their patience,
and room for others; a KiB each while they wait, and HELLO_MAX_BYTES at most."""
HELLO_MAX_BYTES = 8 * 1024
"""Bytes of a ClientHello that waits, what came behind it included: a ticket has a certificate in it, of 2 KiB
if that is large; the rest of the extensions takes a few hundred bytes."""
HELLO_PATIENCE_S = 4.0
"""Seconds of silence after which a device that waits for its handshake is taken to have given up; half of it
is how long the others in front of it may take. DTLS clients go on for 30 s and more."""
HELLO_STALE_S = 1.0
"""Seconds after which an unread ClientHello without a cookie is not answered: it is sent again by then
(RFC 6347 §4.2.4.1)."""
HELLO_FOLLOWERS_MAX = 4
"""Datagrams kept behind a ClientHello that waits: one in fragments of 256 bytes has no more."""
NETWORKS_KNOWN_MAX = 20_000
"""Networks (/24, /56) whose fleet one process remembers: 6 MB at 300 bytes each."""
ADMISSION_PAUSE_MAX_S = 0.1
"""Seconds after which a handshake is begun although peers that are let in keep the process busy."""

# --- CoAP (RFC 7252 §4.8; times in seconds) ----------------------------------------------------------
COAP_BLOCK_SIZE = 1_024
"""Bytes per Block1 block that we offer; a device may negotiate down to 16."""
COAP_BODY_MAX_BYTES = 16 * 1024
"""Bytes of a reassembled body that we accept from a peer."""
COAP_TOKEN_MAX_BYTES = 40
"""Bytes of a peer's token (RFC 8974): with header, Block2 and Content-Format some 60 bytes around a block."""
COAP_TOKEN_ECHO_MAX_BYTES = 128
"""Bytes of a peer's token with which it is still told that it is too long: fits the smallest MTU."""
COAP_DEDUPLICATION_MAX = 512
"""Message IDs remembered per DTLS session."""
COAP_PENDING_REQUESTS_MAX = 16
"""Requests of one peer that may await our answer, or whose answer may wait for its turn, at once; a client
keeps to one (RFC 7252 §4.7)."""
COAP_BODIES_MAX = 4
"""Bodies per DTLS session and direction that may be under way by blocks: 64 KiB in all."""

# --- sessions --------------------------------------------------------------------------------------
BOOTSTRAP_SESSION_TIMEOUT_S = 120.0
"""Seconds from the Bootstrap-Request to Bootstrap-Finish; longer is a lost device, its claim stays."""
DISCOVER_PATIENCE_S = 0.5
"""Seconds for which an answer to Bootstrap-Discover is waited for at least, of a client that may never give
one; the second time twice that."""
DISCOVER_PATIENCE_MAX_S = 8.0
"""The longest such wait: a client this slow pays it once."""
DISCOVER_PATIENCE_ROUND_TRIPS = 4
"""That wait in round trips, as measured by the Delete before it: a slow client takes more than one."""
BOOTSTRAP_CLEAR_MAX = 8
"""Security instances of earlier owners that are deleted one by one: each costs a round trip."""
IDLE_TIMEOUT_S = 60.0
"""Seconds after which an established bootstrap association without traffic is closed."""
REGISTRATION_IDLE_MAX_S = 86_400.0
"""Seconds for which a registered device's silent association is kept; later it makes a new handshake."""
REFUSED_LINGER_S = 10.0
"""Seconds for which an association stays after the last answer: a lost one is asked for again within 3 s."""
FAREWELLS_MAX = 10_000
"""Peers whose last records a worker keeps for when they were lost: 10 MB. Each is kept until 10,000 others
have gone, which at 200 onboardings a second is 50 s: three of a device's four retransmissions."""
EST_ENROLMENT_TIMEOUT_S = 45.0
"""Seconds from Bootstrap-Finish to the certificate request, and from that until its answer was fetched: a
small device makes a P-256 key in some seconds. Less than IDLE_TIMEOUT_S, so that the reason is told."""
SIGNING_REQUEST_MAX_BYTES = 4_096
"""Bytes of a certificate request in DER: one with an endpoint name of 256 bytes has 600."""
CREDENTIAL_DER_MAX_BYTES = 1_024
"""Bytes of a client certificate in DER: the default buffer of a widely used client."""

# --- API -------------------------------------------------------------------------------------------
PAGE_SIZE_DEFAULT = 50
"""Rows per page if the caller does not say."""
PAGE_SIZE_MAX = 1_000
"""Rows per page at most."""
REQUEST_ID_TTL_S = 3_600.0
"""Seconds for which a request_id is remembered at least."""
REQUEST_ID_SWEEP = 8
"""Outdated request_ids forgotten whenever one is remembered: the table shrinks under use, in small steps."""
BATCH_CREATE_MAX = 1_000
"""Enrollments in one BatchCreate: one transaction, which others wait for."""
FILTER_MAX_CHARS = 1_000
"""Characters of a list's filter."""
FILTER_COMPARISONS_MAX = 10
"""Comparisons in a list's filter: each is made for each row."""
LIST_SCAN_MAX = 5_000
"""Rows looked at for one page of a filtered list: one that has met few matches by then ends early."""
KEY_USE_INTERVAL_S = 60.0
"""Seconds between two writes of the times at which API keys were used: at most one write per key in each."""
CREDENTIAL_CHECK_S = 0.5
"""Seconds between two looks at the credentials of the streams that run: a revoked key ends its own within."""
WATCH_POLL_S = 0.025
"""Seconds between two looks at the store's revision, of microseconds each: the most that a watch adds."""
WATCH_SCAN = 1_000
"""Events read in one go, of all accounts: milliseconds, after which other calls get their turn."""
WATCH_BATCH = 100
"""Events in one response of a watch: 1.6 MB even if each device registered 16 KiB of object links."""
WATCH_BUFFER_MAX = 10_000
"""Events that may wait for one stream's client; the events themselves are shared by all streams."""
WATCH_STREAMS_MAX = 20_000
"""Watch streams of one process."""
WATCH_PROGRESS_DEFAULT_S = 30.0
"""Seconds of silence before a progress mark: 10,000 idle streams get 333 in a second."""
WATCH_PROGRESS_MIN_S = 1.0
"""The shortest silence before a progress mark that a caller may ask for."""
WATCH_PROGRESS_MAX_S = 600.0
"""The longest: a proxy that cuts silent streams does so within minutes."""
RPC_MESSAGE_MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one gRPC message."""
RPC_METADATA_MAX_BYTES = 16 * 1024
"""Bytes of gRPC metadata."""

# --- transfers -------------------------------------------------------------------------------------
TRANSFER_DEVICES_MAX = 1_000
"""Devices in one transfer: they change hands in one transaction, 0.1 s for which others wait."""
TRANSFERS_MAX = 10_000
"""Transfers that one account offers and that are kept, open or not: ten million devices."""
TRANSFER_TTL_DEFAULT_S = 7 * 86_400.0
"""Seconds after which an offer ends whose owner names no other time."""
TRANSFER_TTL_MAX_S = 365 * 86_400.0
"""Seconds after which an offer ends at the latest: a forgotten one must not stand for ever."""
TRANSFERS_KEPT_S = 30 * 86_400.0
"""Seconds for which a transfer that was decided can still be read."""
TRANSFERS_SWEPT_AT_ONCE = 10
"""Transfers ended or forgotten in one transaction: of 1,000 devices each, milliseconds."""
FORMER_OWNERS_MAX = 16
"""Former owners whose `aid` a device may still say after transfers: one that slept through more of them needs
a factory reset."""
CODE_FAILURES_MAX = 5
"""Wrong transfer codes that an account may try in a CODE_FAILURES_WINDOW_S: people mistype."""
CODE_FAILURES_WINDOW_S = 60.0
"""Seconds after which a wrong code is forgiven. 130 bits are not guessed anyway; this makes it show."""

# --- denials ---------------------------------------------------------------------------------------
DENIALS_MAX = 10_000
"""Denials kept for one account, and for the operator: beyond that, those last seen the longest ago go."""
DENIALS_PENDING_MAX = 20_000
"""Devices and causes that wait in one worker to be written: 40 MB at 2 KB each."""
DENIALS_AT_ONCE = 64
"""Denials written in one command: a few milliseconds, for which a claim may have to wait."""
DENIAL_FLUSH_S = 1.0
"""Seconds for which refusals are gathered before they are written: a retry meanwhile costs nothing."""
DENIAL_GRACE_S = 3.0
"""Seconds that a worker which stops takes at most to write what it has gathered."""
DENIAL_BACKLOG_S = 0.1
"""Seconds between two such commands of one worker while more wait: 640 devices a second."""
DENIAL_ACCOUNTS_MAX = 32
"""Accounts that one denial is told to, if many hold the CA of a device that none has enrolled."""
DENIAL_SILENCE_S = 3_600.0
"""Seconds of silence after which a device that is refused again is news to watchers."""
DENIAL_TEXT_MAX_CHARS = 300
"""Characters kept of each text that a refused device brought: names are shorter, and strangers may knock."""
DENIALS_SWEPT_AT_ONCE = 500
"""Denials forgotten in one transaction: milliseconds."""

# --- ledger ----------------------------------------------------------------------------------------
LEDGER_READ_AT_ONCE = 500
"""Entries read in one snapshot and one step of a thread: milliseconds, for which an event loop may wait."""
LEDGER_STEP_S = 0.005
"""Seconds after which a thread that exports lets others have their turn; one tile takes it longer."""
LEDGER_PIECE_BYTES = 64 * 1024
"""Bytes of an export that are handed on at once."""
LEDGER_LINE_MAX_BYTES = 16 * 1024
"""Bytes of one line of an export: none is a fourth as long, and a verifier holds one."""
LEDGER_FINDINGS_MAX = 100
"""Findings that VerifyOwnershipHistory answers with at most."""
LEDGER_EXPORT_RETRY_S = 10.0
"""Seconds to wait, as told to an account that exports while it exports."""

# --- bulk ------------------------------------------------------------------------------------------
BULK_INPUT_MAX_BYTES = 4 * 1024**3
"""Bytes of one uploaded CSV (PRODUCT §3): some forty million enrollment IDs."""
BULK_ROW_MAX_BYTES = 64 * 1024
"""Bytes of one row of it, without its line end: what is held in memory of a file without line ends."""
BULK_BATCH_ROWS = 1_000
"""Rows that take effect in one durable transaction."""
BULK_BATCH_BYTES = 8 * 1024**2
"""Bytes of input after which a batch ends though it has fewer rows: what a resumed job reads again."""
BULK_JOBS_AT_ONCE = 2
"""Jobs that are worked on at the same time; others wait their turn."""
BULK_REST_PER_CHANGE_S = 0.005
"""Seconds for which a job rests after a batch for each change that others made to the store meanwhile."""
BULK_REST_MAX = 3.0
"""The most that it rests, in durations of the batch: among others a job takes a quarter of what it could."""
BULK_RETRY_S = 1.0
"""Seconds after which bulk work that failed is tried again; each further failure doubles them."""
BULK_RETRY_MAX_S = 30.0
"""The most that they become: how long a job may stand still after what kept it is over."""
BULK_INPUT_PATIENCE_S = 300.0
"""Seconds for which a job waits for its input to be readable, such as a disk that is being mounted again."""
BULK_JOBS_SWEPT_AT_ONCE = 10
"""Jobs forgotten in one transaction: one of 4 GiB has some 40,000 batches, which is tens of milliseconds."""
BULK_SWEEP_INTERVAL_S = 60.0
"""Seconds between two sweeps of jobs that were kept long enough."""
OPERATIONS_MAX = 10_000
"""Jobs of one account that a setting may allow to be kept."""
OPERATION_WAIT_MAX_S = 300.0
"""Seconds for which WaitOperation waits at most."""

# --- storage ---------------------------------------------------------------------------------------
STORE_MAP_BYTES = 64 * 1024**3
"""Address space reserved for LMDB; the file is sparse and grows as needed."""
STORE_MAX_READERS = 2_048
"""LMDB reader slots: processes × threads, with room."""
CHECK_FINDINGS_MAX = 1_000
"""Findings of a check that are named; the rest is counted: what is that broken is restored, not read."""
CHECK_ROWS_AT_ONCE = 1_000
"""Records whose index entries are looked up together: sorted, neighbours lie on pages that are cached."""
CHECK_ACCOUNTS_REMEMBERED = 4_096
"""Accounts of which a check remembers whether there are such: most rows name one of few."""
CHECK_EXPIRY_NOTICE_S = 60 * 86_400.0
"""Seconds before the end of a certificate of ours from which on a check says so."""
REVISIONS_A_SECOND = 2**20
"""What a restored store's revisions leave room for: from one restore to the next no store can make as many
changes a second, so the time of the restore, times this, is above all numbers given out before it; below
2**53, which JavaScript counts to, until the year 2242."""
STORE_READER_CHECK_S = 60.0
"""Seconds between two searches for reader slots of dead processes, whose snapshots keep the file growing."""
EVENTS_KEPT_S = 7 * 86_400.0
"""Seconds for which an event can be watched: a consumer that failed on Friday resumes on Monday."""
EVENTS_KEPT_MAX = 2_000_000
"""Events kept at most: two uploads of a million enrollments."""
EVENTS_COMPACTED_AT_ONCE = 1_000
"""Events removed in one transaction: milliseconds, for which a claim may have to wait."""
EVENTS_COMPACTION_INTERVAL_S = 60.0
"""Seconds between two compactions of the events."""
COMMIT_BATCH_MAX = 1_000
"""Commands in one durable transaction."""
COMMIT_PACE_S = 0.010
"""Seconds between the beginnings of a process's commits while devices, or calls, come together: a tenth of
the time that one of many devices takes to onboard, and at a thousand claims a second ten to a commit."""
CLAIM_PACE_S = 0.030
"""The same for a bootstrap worker, of which one device waits once: each commit costs it an fsync and switches
between two threads, and 30 ms are little beside the round trips of an onboarding."""
COMMIT_QUEUE_MAX = 50_000
"""Commands that may wait for a commit in one process before new ones are refused."""
OVERLOAD_BACKLOG_S = 2.0
"""Seconds that claims wait for their commit from which on new ones are put off, where `overload_answer` is
5.03: CoAP's ACK_TIMEOUT, after which a device repeats itself (RFC 7252 §4.8)."""
COMMIT_QUEUE_RETRY_S = 60.0
"""Seconds after which who was refused for it shall come again: what a 5.03 says without Max-Age (RFC 7252
§5.10.5), said aloud; at a thousand commands a second a full queue is gone by then."""

# --- backups ---------------------------------------------------------------------------------------
BACKUP_COMPRESSION_LEVEL = 1
"""Of gzip: the fastest. Keys and hashes are most of a store and shrink no further (docs/decisions/0011)."""
BACKUP_IO_BYTES = 1024**2
"""Bytes that are read, packed or unpacked at once: what a backup holds in memory, whatever its size."""
BACKUP_LIST_MAX_BYTES = 16 * 1024**2
"""Of the manifest, and of the digests, both of which are held in memory: a hundred thousand members."""
BACKUP_ATTEMPTS = 5
"""Snapshots that are tried until keys and store belong together: a rotation is over in milliseconds."""
BACKUP_RETRY_S = 0.2
"""Seconds between two of them."""
BACKUP_HEADROOM_BYTES = 16 * 1024**2
"""Bytes that must stay free when a backup is unpacked: folders, and what the check of it writes."""

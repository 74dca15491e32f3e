"""The LMDB engine: an embedded, memory-mapped B-tree, shared by the processes of one machine.

Theory of operation. LMDB has one writer at a time, across all processes, and any number of readers, each on
a snapshot that nothing disturbs. `store.LmdbStore.write` turns a batch of submissions into one LMDB
transaction; each submission runs in a nested transaction of it, so one that fails leaves nothing behind,
whatever it did before. The commit ends with fdatasync; only then are outcomes given out.

`tables` says what is stored where. Reading is `view.LmdbView`, writing `writer.Writer`; the modules named
after a kind of record hold the commands.
"""

from ftc_core.storage.lmdb.store import LmdbStore, open_lmdb

__all__ = ["LmdbStore", "open_lmdb"]

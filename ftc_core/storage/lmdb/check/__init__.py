"""Whether the store is whole: every row of every table against every other that it must agree with.

Theory of operation. One read transaction is a snapshot, on which everything is judged; nothing is written.
Most tables are records and the indexes over them: `records_and_indexes` has the rule for all of those, and
the modules named after a kind of record say which index entries a record must have, and what else must be
true of it. A record that is damaged is one finding, and the check goes on behind it.

Memory does not grow with the store: rows are looked up in batches, and sorted tables are walked side by side.
"""

from ftc_core.storage.lmdb.check.run import check_lmdb

__all__ = ["check_lmdb"]

"""The proof of ownership: concurrent clients of a real instance, and a judge of what they saw.

`linearizability` decides whether a history of concurrent calls could have happened one after the other;
`ownership` and `transfer` say what one device and one transfer answer if it does; `audit` compares what was
acknowledged with the ledger, the events and the watches. `python -m tests.proof` runs it (`make proof`,
`make soak`).
"""

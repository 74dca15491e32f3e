"""The storm: a simulated fleet powers on against a real instance, and a report says how it went.

plan, arrivals, weather    who comes when, and what happens to its datagrams: values, seeded
certificates, site         keys and certificates of the fleet; its place in the instance's store
device, network, fleet     devices on the client core of `ftc_core.device`, thousands to a process
observation, audit         what the instance says of itself; what its store and ledger say afterwards
report, page, plots        the numbers, and how they are shown
"""

"""What should happen: pure and synchronous decisions. Time, ids and chance are arguments.

Read `schedule` first: it decides where the executions of one job go. `orchestrator` and `compute` are the two halves of the
system as state machines: an event in, effects out.
"""

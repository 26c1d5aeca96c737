"""What `sweep check` can prove of a strategy: its contract, no look-ahead, the same bits as Python.

Each check is a function from a loaded strategy to findings. Checks of ticks are
`sweep.ticks.quality`.
"""

"""Ticks: read from files, checked, stored once, mapped by every process, cut into slices.

Sources and formats, the store, sessions and synthetic markets live here. Resampled ticks are
`sweep.scenarios`; what is earned on ticks is `sweep.backtest`.
"""

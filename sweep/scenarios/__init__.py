"""Other histories: resampled, simulated or stressed, and variants evaluated on them.

What is concluded from such evaluations is `sweep.montecarlo`; statistics on arrays are
`sweep.stats`.
"""

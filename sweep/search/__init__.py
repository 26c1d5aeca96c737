"""Which points are tried, and how they are scored: designs, samplers, pruning, objectives.

Nothing here runs anything: a study asks for points and tells results.
"""

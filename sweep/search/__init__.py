"""Which points are tried, and what they are worth: designs, samplers, pruning, objectives.

Nothing here runs anything: a study asks for points and tells results.
"""

"""A study: its file, its folder, its trials, and how it runs.

`study` is what users open, `setup` prepares a run, `run` and the two flows carry it out. How much
of its winner to believe is `sweep.validation`.
"""

"""The study file: every setting, typed, with its default and limits, read from TOML and flags.

`spec` holds the whole file as one frozen object; `sections` and `monte_carlo` hold its parts,
`ranges` the ranges of parameters; `fields` defines what a setting may be; `toml` reads the text.
"""

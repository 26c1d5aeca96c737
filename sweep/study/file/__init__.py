"""The study file: every setting, typed, with its default and limits, read from TOML and flags.

`spec` is the whole file as one frozen object, `sections` its parts.
"""

"""The search repeated in folds over time, and what it found out of sample.

How time is cut into folds is `sweep.validation.folds`.
"""

"""Verdict, surface and folds as the parts of a document, and as tables.

Nothing here computes a statistic.
"""

"""Verdict, surface and folds as text, tables and an HTML page.

Nothing here computes a statistic.
"""

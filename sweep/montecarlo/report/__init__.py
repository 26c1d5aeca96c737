"""Findings of Monte Carlo as the parts of a document, as tables, charts and pictures.

Nothing here evaluates anything.
"""

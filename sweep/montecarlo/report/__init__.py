"""Findings of Monte Carlo as text, tables, charts, pictures and an HTML page.

Nothing here evaluates anything.
"""

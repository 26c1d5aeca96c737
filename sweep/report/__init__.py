"""How things are shown: the parts of a document, on a terminal and as a page; tables for programs.

Nothing here knows ticks, strategies or studies; what a report says belongs to the package that it
reports on.
"""

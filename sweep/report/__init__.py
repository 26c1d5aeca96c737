"""How things are shown: tables, the live screen, HTML pages, and the snapshot that they show.

Nothing here knows ticks, strategies or studies; what a report says belongs to the package that it
reports on.
"""

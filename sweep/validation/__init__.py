"""How much of the winner of a search to believe, and how its surface looks.

::

    of_study: a study as evidence          surface: trials by cells, clusters, neighbours
        |                                     |        importance: of parameters
    claims: one from each method              |
        |                                  surface_lines: drawn in a terminal
    verdict: all of them, and one line        |
        |                                     |
    report: lines, table, JSON          page: HTML
"""

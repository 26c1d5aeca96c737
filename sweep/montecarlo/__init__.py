r"""How a variant does where history had been another: Monte Carlo on a study's variants.

::

    variants (who is asked about)
        on_paths   on_results   around   stress   timing      one module a family of methods
              \        |          |        /       /
                       finding (what a method says of a variant)
                          |
                 run (several methods, cheapest first)     gather, shelf: tasks, rows on disk
"""

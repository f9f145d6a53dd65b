"""Charts for notebooks and reports, ``cofactor.plots``: each shows itself as the last line of a cell.

They answer to mouse, finger and keyboard, follow light and dark pages, and need nothing but the library itself.
"""

from cofactor.report.result_charts import concentration, leaderboard, long_tail, losses, pareto, slices
from cofactor.report.search_charts import parameter, search, surface

__all__ = [
    "concentration",
    "leaderboard",
    "long_tail",
    "losses",
    "parameter",
    "pareto",
    "search",
    "slices",
    "surface",
]

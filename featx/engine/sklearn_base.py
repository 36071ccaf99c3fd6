"""Import scikit-learn's base classes without the packages that they import and do not use.

`sklearn.utils.fixes` imports scipy.stats and pandas, which takes longer than all else that
`sklearn.base` needs. With this module imported first, both are imported at their first use.
"""

from featx._imports import import_deferring

import_deferring("sklearn.utils.validation", ["scipy.stats", "pandas"])

"""Every measure that ``config/claims`` may name.

A measure is a function of the claim's rows, the paper's tau and the claim, giving a number, its 95 % interval and n.
"""

from collections.abc import Callable

import pandas as pd

from sslauth_utils.claims import (
    measures_contrasts,
    measures_crossing,
    measures_deepauth,
    measures_generators,
    measures_near,
    measures_pairs,
    measures_values,
    measures_verdicts,
)
from sslauth_utils.claims.contrast import Measured

Measure = Callable[[pd.DataFrame, float, dict], Measured]
MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for module in (
        measures_verdicts,
        measures_contrasts,
        measures_generators,
        measures_near,
        measures_values,
        measures_pairs,
        measures_deepauth,
        measures_crossing,
    )
    for measure in module.MEASURES
}
#: measures that set two values of a column of the rows against each other, and the column
COMPARES = {
    "rise": "strength", "success_rise": "strength", "share_change": "strength",
    "kappa_ratio": "scheme", "generator_gap": "scheme",
    "setting_kappa_ratio": "keys", "setting_success_gap": "keys", "gap_to_tamper": "tamper",
    "detected_gap": "method",
}  # fmt: skip
#: measures that set networks against each other, each of which has seeds of its own
ACROSS = {"accepted_gap", "models_gap"}

"""Measures of the crossing of classifiers' checks (`claims.crossing`): rows of 24_classifier_schemes."""

import numpy as np
import pandas as pd

from sslauth_utils.claims.contrast import Incomplete, Measured
from sslauth_utils.claims.crossing import detections, smallest_seen


def smallest_seen_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The smallest tamper that a check sees over that of ``versus``: geometric mean and range over models.

    Above 1 the check needs a larger tamper than the other. A check that misses the strongest tested counts as if it
    saw one ten times as strong. n counts classifiers; protected models of one classifier are averaged first.
    """
    seen = smallest_seen(detections(rows))
    strongest = pd.to_numeric(rows.loc[rows["kind"] == "tamper", "strength"]).max()
    logs = np.log(seen["seen"].replace(np.inf, 10 * strongest))
    by_model = logs.groupby([seen["scenario"], seen["seed"], seen["method"]]).mean().unstack("method")
    others = by_model.columns != claim["versus"]
    if others.sum() != 1 or others.all() or by_model.isna().any(axis=None):
        raise Incomplete
    ratios = np.exp(by_model.loc[:, others].iloc[:, 0] - by_model[claim["versus"]])
    return float(np.exp(np.log(ratios).mean())), float(ratios.min()), float(ratios.max()), len(ratios)


MEASURES = (smallest_seen_ratio,)

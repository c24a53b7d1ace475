"""The paper's claims: what each says, what the rows say, and the verdict.

The claims stand in ``config/claims.yaml`` with the rule that decides each. Nothing
here knows an outcome: a measure is a function of rows, a rule one of intervals.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sslauth_utils.errors import UserError
from sslauth_utils.paths import CONFIG, RESULTS
from sslauth_utils.results import amplification, load_rows, mean_interval, resamples, share_interval

COLUMNS = ["id", "source", "quantity", "paper", "measured", "low", "high", "n", "verdict"]
REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested at this size"

#: (measured, low, high, n)
Measured = tuple[float, float, float, int]


class _Incomplete(LookupError):
    """The rows lack one side of a comparison: a rate or a generator, say, that the profile leaves out."""


def _wide(rows: pd.DataFrame, index: list[str], columns: str, wanted: list) -> pd.DataFrame:
    """Similarities of the same keys side by side, a column for each of the `wanted` values of `columns`, no others."""
    wide = rows[rows[columns].isin(wanted)].pivot_table(index=index, columns=columns, values="similarity")
    if set(wide.columns) != set(wanted) or wide.isna().any(axis=None):
        raise _Incomplete
    return wide


def _agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Mean similarity, %; n counts keys x seeds."""
    values = rows["similarity"].to_numpy(float)
    low, high = mean_interval(values, rows["seed"].to_numpy())
    return 100 * values.mean(), 100 * low, 100 * high, len(values)


def _lowest_agreement(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """The lowest of the groups' mean similarities, %."""
    groups = [_agreement(group, tau, claim) for _, group in rows.groupby(["scenario", "tamper", "strength"])]
    return min(groups)


def _auth_success(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of keys above tau, %."""
    return _share((rows["similarity"] > tau).to_numpy())


def _verdicts(rows: pd.DataFrame, tau: float, by: list[str]) -> pd.Series:
    """Whether every key of a verification passes."""
    return (rows["similarity"] > tau).groupby([rows[name] for name in by]).all()


_ONE_VERIFICATION = ["scenario", "seed", "keys", "scheme", "tamper", "strength"]


def _passing(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that pass, %; n counts verifications."""
    return _share(_verdicts(rows, tau, _ONE_VERIFICATION).to_numpy())


def _failing(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verifications that fail, %; n counts verifications."""
    return _share(~_verdicts(rows, tau, _ONE_VERIFICATION).to_numpy())


def _verdicts_differ(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Share of verdicts that differ between ID and OOD keys, %."""
    if not {"id", "ood"} <= set(rows["keys"]):
        raise _Incomplete
    verdicts = _verdicts(rows, tau, _ONE_VERIFICATION).unstack("keys")
    return _share((verdicts["id"] != verdicts["ood"]).to_numpy())


def _share(hits: np.ndarray) -> Measured:
    low, high = share_interval(hits.sum(), len(hits))
    return 100 * hits.mean(), 100 * low, 100 * high, len(hits)


def _pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Trans beside DCmp for the same seed and key."""
    return _wide(rows, ["scenario", "seed", "key"], "scheme", ["DCmp", "Trans"]).reset_index()


def _order(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Trans minus DCmp, paired by key, in points, at the strength where it is largest."""
    differences = []
    for _, group in rows.groupby("strength"):
        pairs = _pairs(group)
        gap = (pairs["Trans"] - pairs["DCmp"]).to_numpy()
        low, high = mean_interval(gap, pairs["seed"].to_numpy())
        differences.append((100 * gap.mean(), 100 * low, 100 * high, len(gap)))
    return max(differences)


def _success_gap(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Trans minus DCmp authentication success, paired by key, in points."""
    pairs = _pairs(rows)
    gap = (pairs["Trans"] > tau).to_numpy(float) - (pairs["DCmp"] > tau).to_numpy(float)
    low, high = mean_interval(gap, pairs["seed"].to_numpy())
    return 100 * gap.mean(), 100 * low, 100 * high, len(gap)


def _rise(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """Agreement at the second strength minus at the first, paired by key, in points."""
    first, second = claim["where"]["strength"]
    wide = _wide(rows, ["seed", "key"], "strength", [first, second])
    gap = (wide[second] - wide[first]).to_numpy()
    low, high = mean_interval(gap, wide.index.get_level_values("seed").to_numpy())
    return 100 * gap.mean(), 100 * low, 100 * high, len(gap)


def _kappa(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """(1 - SSIM) / (1 - cos) of the paper's Trans."""
    table = amplification(rows, ["tamper"])
    if table.empty or "Trans" not in set(table["scheme"]):
        raise _Incomplete
    line = table[table["scheme"] == "Trans"].iloc[0]
    return line["kappa"], line["low"], line["high"], int(line["n"])


def _kappa_ratio(rows: pd.DataFrame, tau: float, claim: dict) -> Measured:
    """kappa of G_min over kappa of another generator; the change in cosine cancels."""
    wide = 1 - _wide(rows, ["seed", "scenario", "key"], "scheme", ["Trans", claim["versus"]])
    top, bottom = wide["Trans"].to_numpy(), wide[claim["versus"]].to_numpy()
    picks = resamples(wide.index.get_level_values("seed").to_numpy())
    low, high = np.quantile(top[picks].mean(axis=1) / bottom[picks].mean(axis=1), [0.025, 0.975])
    return top.mean() / bottom.mean(), low, high, len(top)


MEASURES: dict[str, Callable[[pd.DataFrame, float, dict], Measured]] = {
    "agreement": _agreement,
    "lowest_agreement": _lowest_agreement,
    "auth_success": _auth_success,
    "passing": _passing,
    "failing": _failing,
    "verdicts_differ": _verdicts_differ,
    "order": _order,
    "success_gap": _success_gap,
    "rise": _rise,
    "kappa": _kappa,
    "kappa_ratio": _kappa_ratio,
}


def read_claims(path: Path = CONFIG / "claims.yaml") -> list[dict[str, Any]]:
    """The claims in the order in which they stand.

    Raises:
        UserError: an unknown or missing field, measure or rule, or an id used twice.
    """
    claims = yaml.safe_load(path.read_text(encoding="utf-8"))
    needed = {"id", "source", "quantity", "paper", "notebook", "where", "measure", "rule", "tested_in"}
    for claim in claims:
        if not needed <= set(claim) <= needed | {"versus"}:
            raise UserError(f"{path}: claim {claim.get('id')} has the wrong fields: {set(claim) ^ needed}.")
        if claim["measure"] not in MEASURES:
            raise UserError(f"{path}: claim {claim['id']} has the unknown measure {claim['measure']!r}.")
        if len(claim["rule"]) != 1 or not set(claim["rule"]) <= {"within", "below", "above", "at_least", "at_most"}:
            raise UserError(f"{path}: claim {claim['id']} has the unknown rule {claim['rule']}.")
        if "within" in claim["rule"] and not isinstance(claim["paper"], int | float):
            raise UserError(f"{path}: claim {claim['id']} is decided by a distance, but states no number.")
    ids = [claim["id"] for claim in claims]
    if len(set(ids)) != len(ids):
        raise UserError(f"{path}: two claims have the same id.")
    return claims


def select(rows: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    """The rows whose columns have the wanted value, or one of the wanted values."""
    for column, wanted in where.items():
        wanted = wanted if isinstance(wanted, list) else [wanted]
        if column == "strength":
            numbers = pd.to_numeric(rows[column], errors="coerce")
            rows = rows.assign(strength=numbers)[np.isclose(numbers.to_numpy()[:, None], wanted).any(axis=1)]
        else:
            rows = rows[rows[column].isin(wanted)]
    return rows


def holds(claim: dict[str, Any], measured: float, low: float, high: float) -> bool:
    """Whether the claim's rule is met."""
    (kind, bound), slack = next(iter(claim["rule"].items())), 1e-9
    return {
        "within": lambda: abs(measured - float(claim["paper"])) <= bound + slack,
        "below": lambda: high < bound,
        "above": lambda: low > bound,
        "at_least": lambda: measured >= bound - slack,
        "at_most": lambda: measured <= bound + slack,
    }[kind]()


def rule_text(claim: dict[str, Any]) -> str:
    """The rule in words, for the report."""
    kind, bound = next(iter(claim["rule"].items()))
    return {
        "within": f"within {bound:g} of the paper's number",
        "below": f"95 % interval below {bound:g}",
        "above": f"95 % interval above {bound:g}",
        "at_least": f"at least {bound:g}",
        "at_most": f"at most {bound:g}",
    }[kind]


def evaluate(profile: str, tau: float, results: Path = RESULTS) -> pd.DataFrame:
    """All claims against the rows of `profile`: the columns of summary.csv.

    A claim without (all) its rows keeps empty numbers and is not tested; one that this profile's
    size cannot decide shows its numbers and is not tested.
    """
    lines, cache = [], {}
    for claim in read_claims():
        notebook = claim["notebook"]
        if notebook not in cache:
            try:
                cache[notebook] = load_rows(profile, notebook, results)
            except UserError:
                cache[notebook] = None
        line = {name: claim[name] for name in ("id", "source", "quantity", "paper")} | {"verdict": NOT_TESTED}
        rows = cache[notebook]
        rows = None if rows is None else select(rows, claim["where"])
        lines.append(line)
        if rows is None or rows.empty:
            continue
        try:
            measured, low, high, n = MEASURES[claim["measure"]](rows, tau, claim)
        except _Incomplete:
            continue
        line |= {"measured": measured, "low": low, "high": high, "n": n}
        if profile in claim["tested_in"]:
            line["verdict"] = REPRODUCED if holds(claim, measured, low, high) else NOT_REPRODUCED
    return pd.DataFrame(lines, columns=COLUMNS).astype({"n": "Int64"})  # whole numbers, some of them missing


def printed_points(notebook: str) -> pd.DataFrame:
    """The paper's numbers for single points of a notebook's sweep, to draw behind ours.

    Returns:
        Columns scenario, scheme, strength, measure (agreement or auth_success), paper.
    """
    points = [
        {name: claim["where"][name] for name in ("scenario", "scheme", "strength")}
        | {"measure": claim["measure"], "paper": claim["paper"]}
        for claim in read_claims()
        if claim["notebook"] == notebook
        and claim["measure"] in ("agreement", "auth_success")
        and {"scenario", "scheme", "strength"} <= set(claim["where"])
    ]
    return pd.DataFrame(points)

"""The tables of the report: pure functions of rows."""


import pandas as pd

from sslauth_utils.results import amplification, summarise

Table = tuple[str, str, pd.DataFrame]


def with_interval(value: float, low: float, high: float, digits: int) -> str:
    """A number with its interval behind it, in brackets."""
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def side_by_side(summary: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """Agreement and success of DCmp and Trans in one line, with n."""
    lines = []
    for names, group in summary.groupby(index, sort=False):
        line = dict(zip(index, names, strict=True))
        for scheme in ("DCmp", "Trans"):
            cell = group[group["scheme"] == scheme].iloc[0]
            line[f"{scheme} agreement %"] = with_interval(
                cell["agreement"], cell["agreement_low"], cell["agreement_high"], 3
            )
            line[f"{scheme} success %"] = with_interval(
                cell["auth_success"], cell["success_low"], cell["success_high"], 1
            )
        lines.append(line | {"keys × seeds": f"{cell['n'] // cell['seeds']} × {cell['seeds']}"})
    return pd.DataFrame(lines)


def precision_table(rows: pd.DataFrame, tau: float) -> Table:
    """Tables 3 and 6 for every scenario and number of decimals, rounding L2-normalised features."""
    rows = rows[(rows["tamper"] == "rounding") & rows["scheme"].isin(["DCmp", "Trans"])]
    summary = summarise(rows, ["scenario", "keys", "strength", "scheme"], tau)
    table = side_by_side(summary, ["scenario", "keys", "strength"]).rename(columns={"strength": "decimals"})
    text = (
        "The paper's Tables 3 and 6. The encoder is intact; L2-normalised features are rounded. In brackets 95 % "
        f"intervals; success counts keys above τ = {100 * tau:g} %. SHA-256 of the weights passes throughout."
    )
    return "Precision loss", text, table


def null_table(rows: pd.DataFrame, tau: float) -> Table:
    """False alarms by honest change: the worst key and whether every verification passed."""
    lines = []
    rows = rows[rows["kind"] != "floor"]
    for (kind, tamper, strength), group in rows.groupby(["kind", "tamper", "strength"], sort=False):
        line = {"kind": kind, "honest change": f"{tamper} {strength}".strip()}
        for scheme in ("DCmp", "Trans"):
            part = group[group["scheme"] == scheme]
            passed = (part["similarity"] > tau).groupby([part["scenario"], part["seed"]]).all()
            line[f"{scheme}, 1 − worst key"] = f"{1 - part['similarity'].min():.1e}"
            line[f"{scheme} passes"] = f"{int(passed.sum())} of {len(passed)}"
        digests = group[group["scheme"] == "SHA-256"]["similarity"]
        line["SHA-256 passes"] = f"{int(digests.sum())} of {len(digests)}"
        lines.append(line)
    text = (
        f"What an honest user of the intact encoder may do, and which scheme rejects it at τ = {100 * tau:g} %. One "
        "verification a scenario and seed; the worst key over all of them."
    )
    return "The null: honest changes", text, pd.DataFrame(lines)


def pruning_table(rows: pd.DataFrame, tau: float) -> Table:
    """Figs. 5 and 6 in numbers."""
    rows = rows[(rows["tamper"] == "pruning") & rows["scheme"].isin(["DCmp", "Trans"])]
    summary = summarise(rows, ["scenario", "strength", "scheme"], tau)
    table = side_by_side(summary, ["scenario", "strength"])
    table["strength"] = table["strength"].map(lambda rate: f"{100 * rate:g} %")
    text = "Pruning (the paper's Figs. 5 and 6) with 95 % intervals. SHA-256 of the weights rejects every row."
    return "Pruning", text, table.rename(columns={"strength": "rate"})


def kappa_table(rows: pd.DataFrame) -> Table:
    """kappa by scenario, rate and generator objective."""
    table = amplification(rows[rows["tamper"] == "pruning"], ["scenario", "strength"])
    table["κ"] = [with_interval(line.kappa, line.low, line.high, 1) for line in table.itertuples()]
    table["rate"] = table["strength"].map(lambda rate: f"{100 * rate:g} %")
    names = {"Trans": "κ of G_min", "Trans G_max": "κ of G_max", "Trans G_ini": "κ of G_ini"}
    wide = table.pivot(index=["scenario", "strength", "rate"], columns="scheme", values="κ")
    shown = [name for scheme, name in names.items() if scheme in wide.columns]
    wide = wide.rename(columns=names)[shown].reset_index().drop(columns="strength")
    text = (
        "κ = (1 − SSIM)/(1 − cos): how many times larger a change looks after the generator, by its training "
        "objective, with 95 % intervals. Trans at τ decides about as DCmp at 1 − (1 − τ)/κ."
    )
    return "Amplification by the generator", text, wide

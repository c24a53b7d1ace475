"""Tables 5 and 8 of the report: generators by objective and seed, and other forms of a feature."""

import pandas as pd

from sslauth_utils.objective_plots import disguised, form_name, generator_kappas, transformation_schemes
from sslauth_utils.results import summarise
from sslauth_utils.tables import Table, with_interval


def objective_table(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Table:
    """Table 5: the disguised encoder by generator objective, mean and range over generators.

    Args:
        rows: of 10_generator_objective.
        tau: the tolerance.
        reference: the paper's printed points (`claims.printed_points`); adds two columns.
    """
    names = {"DCmp": "DCmp", "Trans G_max": "Trans, G_max", "Trans G_ini": "Trans, G_ini", "Trans": "Trans, G_min"}
    suspect = disguised(rows)
    kappas = generator_kappas(suspect)
    lines = []
    for scenario, of_scenario in suspect.groupby("scenario", sort=False):
        for scheme, name in names.items():
            group = of_scenario[of_scenario["scheme"] == scheme]
            if group.empty:
                continue
            if scheme == "DCmp":  # knows no generator, yet stands once for each
                group = group[group["keys"] == group["keys"].min()]
            each = group.assign(passes=group["similarity"] > tau).groupby(["seed", "keys"])
            agreement, success = 100 * each["similarity"].mean(), 100 * each["passes"].mean()
            magnified = kappas.loc[(kappas["scenario"] == scenario) & (kappas["scheme"] == scheme), "kappa"]
            line = {
                "scenario": scenario, "scheme": name, "agreement %": _with_range(agreement, 3),
                "success %": _with_range(success, 1), "κ": _with_range(magnified, 1) if len(magnified) else "",
                "rejected": f"{int((success < 100).sum())} of {len(success)}",
                "keys × generators × seeds": f"{group['key'].nunique()} × {group['keys'].nunique()} × "
                f"{group['seed'].nunique()}",
            }  # fmt: skip
            lines.append(line | _paper_columns(reference, scenario, scheme))
    text = (
        "The paper's Table 5: the disguised encoder, verified with generators that differ in objective and in the "
        "seed of their initial weights. Mean and, in brackets, lowest and highest over generators; "
        f"τ = {100 * tau:g} %. DCmp has no generator. A difference between objectives that is smaller than the "
        "brackets is one that the paper's single run cannot show."
    )
    return "Generator objective", text, pd.DataFrame(lines)


def transformation_table(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Table:
    """Table 8: the disguised encoder after turning features into other forms, and the amplification by each form.

    Args:
        rows: of 11_transformation.
        tau, reference: as in `objective_table`.
    """
    schemes = transformation_schemes(rows)
    rows = rows[rows["scheme"].isin(schemes)]
    change = (1 - rows["similarity"]).groupby([rows["scenario"], rows["tamper"], rows["scheme"]]).mean()
    tampers = list(dict.fromkeys(rows.loc[rows["tamper"] != "intact", "tamper"]))
    lines = []
    for scenario, of_scenario in rows.groupby("scenario", sort=False):
        summary = summarise(disguised(of_scenario), ["scheme"], tau)
        for scheme in schemes:
            line = {"scenario": scenario, "form": form_name(scheme).replace("$", "").replace("{", "").replace("}", "")}
            for cell in summary[summary["scheme"] == scheme].itertuples() if len(summary) else ():
                line["agreement %"] = with_interval(cell.agreement, cell.agreement_low, cell.agreement_high, 3)
                line["success %"] = f"{cell.auth_success:.1f}"
            for tamper in tampers:
                plain = change.get((scenario, tamper, "DCmp"), 0)
                if plain > 1e-9 and (scenario, tamper, scheme) in change.index:
                    line[f"κ, {tamper}"] = f"{change[scenario, tamper, scheme] / plain:.2f}"
            lines.append(line | _paper_columns(reference, scenario, scheme))
    text = (
        "The paper's Table 8: the disguised encoder's features turned into other forms before they are compared. "
        f"Agreement with 95 % interval, success at τ = {100 * tau:g} %, κ = (1 − similarity)/(1 − cos) by tamper. The "
        "paper does not say how its vectors were made; its numbers stand at the trained MLP."
    )
    return "Forms other than images", text, pd.DataFrame(lines).fillna("")


def _with_range(values: pd.Series, digits: int) -> str:
    if len(values) == 1:
        return f"{values.iloc[0]:.{digits}f}"
    return with_interval(values.mean(), values.min(), values.max(), digits)


def _paper_columns(reference: pd.DataFrame | None, scenario: str, scheme: str) -> dict[str, str]:
    """The paper's agreement and success for one line, empty where it prints none; no columns without `reference`."""
    if reference is None:
        return {}
    cells = {"paper: agreement %": "", "paper: success %": ""}
    for point in reference[(reference["scenario"] == scenario) & (reference["scheme"] == scheme)].itertuples():
        cells["paper: agreement %" if point.measure == "agreement" else "paper: success %"] = f"{point.paper:g}"
    return cells

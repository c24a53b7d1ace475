"""The tables of the report: pure functions of rows and measures."""

from collections.abc import Mapping

import pandas as pd

from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.claims.tolerance import Matched, at_one_tolerance
from sslauth_utils.report.figures_generators import disguised, form_name, generator_kappas, transformation_schemes
from sslauth_utils.study.rows import select

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
    return "Honest changes of an intact encoder", text, pd.DataFrame(lines)


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


_SHOWN = ("clean accuracy", "backdoored accuracy", "attack success", "ASR-B")


def success_table(measures: pd.DataFrame) -> pd.DataFrame:
    """Utility and attack success of one encoder in per cent, one line an attack, as the notebooks show them.

    Args:
        measures: of 06_backdoor, 07_imitation or 13_utility_loss, without lines by epoch. Success by BadEncoder's own
            count, over all classes, is left out: one number for one quantity.
    """
    table = measures.pivot(index=["tamper", "strength"], columns="quantity", values="value").mul(100).round(1)
    table = table.loc[list(dict.fromkeys(zip(measures["tamper"], measures["strength"], strict=True)))]
    table = table[[name for name in ("chance", *_SHOWN, "references read as the target", "destroyed") if name in table]]
    if "destroyed" in table:
        table = table.assign(destroyed=table["destroyed"].map({0: "no", 100: "yes"}))
    return table.rename(columns={name: f"{name} %" for name in table if name != "destroyed"}).rename_axis(columns=None)


def attack_table(rows: pd.DataFrame, measures: pd.DataFrame, tau: float) -> Table:
    """Utility, attack success and both schemes, one line an attack.

    Args:
        rows, measures: of 06_backdoor and 07_imitation together; rows by epoch are left out.
        tau: the tolerance.
    """
    measures = measures[measures["quantity"].isin(_SHOWN)]
    index = ["scenario", "tamper", "strength"]
    numbers = measures.pivot_table(index=index, columns="quantity", values="value", sort=False).mul(100).round(1)
    numbers = numbers[[name for name in _SHOWN if name in numbers]].add_suffix(" %").reset_index()
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"]) & ~rows["tamper"].str.endswith("by epoch")]
    rows = rows.assign(strength=pd.to_numeric(rows["strength"]))
    table = numbers
    if len(rows):  # every attack may have destroyed its encoder
        table = numbers.merge(side_by_side(summarise(rows, [*index, "scheme"], tau), index), on=index, how="left")
    table = table.sort_values(index, kind="stable").rename(columns={"strength": "λ"})
    text = (
        "The paper's Tables 1 (λ = 0: the adversary does not know the keys), 2 and 7 (λ = 10: the adversary does). "
        "Attack success counts triggered images of other classes; ASR-B is the same with the clean encoder. "
        "Brackets: 95 % intervals. An attack that destroyed the encoder has no scores."
    )
    return "Backdoors, plain and disguised", text, table.fillna("")


def utility_table(rows: pd.DataFrame, measures: pd.DataFrame, tau: float) -> Table:
    """The backdoor by the weight of its utility loss: task, trigger, and agreement with either key set.

    Args:
        rows, measures: of 13_utility_loss.
        tau: the tolerance.
    """
    index = ["scenario", "strength"]
    measures = measures[measures["quantity"].isin([*_SHOWN, "destroyed"])]
    table = measures.pivot_table(index=index, columns="quantity", values="value")
    destroyed = table.pop("destroyed")
    table = table[list(_SHOWN)].mul(100).round(1).add_suffix(" %")
    table["encoders destroyed %"] = 100 * destroyed
    summary = summarise(rows[rows["scheme"].isin(["DCmp", "Trans"])], [*index, "keys", "scheme"], tau)
    for keys in ("ood", "id"):
        for scheme in ("DCmp", "Trans"):
            part = select(summary, {"keys": keys, "scheme": scheme}).set_index(index)
            cells = zip(part["agreement"], part["agreement_low"], part["agreement_high"], strict=True)
            shown = pd.Series([with_interval(*cell, 2) for cell in cells], part.index)
            table[f"{scheme} agreement, {keys.upper()} keys %"] = shown
    text = (
        "An ablation: the plain backdoor for STL-10's part with a weaker utility loss, or none. Brackets: 95 % "
        "intervals. Destroyed encoders are shown as well: to prevent that is what the utility loss is for."
    )
    table = table.rename_axis(columns=None).reset_index().rename(columns={"strength": "λ2"})
    return "The utility loss and the keys", text, table.fillna("")


def tolerance_table(
    rows: Mapping[str, pd.DataFrame], tolerances: Mapping[tuple[str, int], Matched], tau: float
) -> Table:
    """Verdicts on every tamper: DCmp at tau, DCmp at its matched tolerance, Trans at tau, SHA-256.

    Args:
        rows: by notebook; those of pruning, fine-tuning and backdoors are taken.
        tolerances: `tolerance.matched_tolerances`; encoders without one are left out.
    """
    lines = []
    for name in ("04_fine_tuning", "05_pruning", "06_backdoor", "07_imitation"):
        if name not in rows:
            continue
        part = rows[name][rows[name]["scheme"].isin(["DCmp", "Trans", "SHA-256"])]
        part = part[~part["tamper"].str.endswith("by epoch")]
        part = part[[encoder in tolerances for encoder in zip(part["scenario"], part["seed"], strict=True)]]
        marked = at_one_tolerance(part, tolerances, tau)
        passed = marked.groupby(["scenario", "seed", "tamper", "strength", "check"], sort=False)["passes"].all()
        for (scenario, tamper), group in passed.groupby(["scenario", "tamper"], sort=False):
            verdicts = group.unstack("check")
            line = {"scenario": scenario, "tamper": tamper}
            for check in (f"DCmp at {100 * tau:g} %", "DCmp matched", "Trans", "SHA-256"):
                if check in verdicts:
                    seen = verdicts[check].dropna()
                    line[f"rejected by {check}"] = f"{int((~seen.astype(bool)).sum())} of {len(seen)}"
            differ = verdicts["DCmp matched"] != verdicts["Trans"]
            lines.append(line | {"matched DCmp ≠ Trans": f"{int(differ.sum())} of {len(differ)}"})
    tightest = ", ".join(
        f"{scenario}, seed {seed}: {100 * value.tau:.5f} %"
        + (f" ({value.disagreements} left over)" if value.disagreements else "")
        for (scenario, seed), value in tolerances.items()
    )
    text = (
        f"DCmp and Trans judged fairly: at one τ = {100 * tau:g} % they accept different honest changes, so DCmp is "
        f"given the tolerance at which it accepts exactly those that Trans accepts ({tightest}). Verifications "
        "rejected, over strengths and seeds. Where the last column is 0, the generator decides nothing that a "
        f"stricter cosine would not.{_counted(lines)}"
    )
    return "Equally strict", text, pd.DataFrame(lines).fillna("")


def _counted(lines: list[dict[str, str]]) -> str:
    """Why the numbers of verifications differ: from the count of the page's answers, and from column to column."""
    told = ""
    if any(line["tamper"] == "pruning with batch norm" for line in lines):
        told += " Pruning with batch norm is an ablation: the count of all tampered encoders leaves it out."
    numbers = [
        [line.get(f"rejected by {check}", "").partition(" of ")[2] for check in ("SHA-256", "Trans")] for line in lines
    ]
    if any(hashed and hashed != asked for hashed, asked in numbers):
        told += " SHA-256 is asked once a fine-tuning and not once an epoch."
    return told


def fine_tuning_table(rows: pd.DataFrame, measures: pd.DataFrame, tau: float) -> Table:
    """Fig. 4 in numbers: after the last epoch, by way of fine-tuning."""
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    last = rows[rows["strength"] == rows.groupby(["scenario", "tamper"])["strength"].transform("max")]
    table = side_by_side(summarise(last, ["scenario", "tamper", "strength", "scheme"], tau),
                         ["scenario", "tamper", "strength"])  # fmt: skip
    for when in ("clean", "tuned"):
        chosen = select(measures, {"quantity": f"kNN accuracy {when}"})
        accuracy = chosen.groupby(["scenario", "tamper"])["value"].mean()
        table[f"kNN {when} %"] = [f"{100 * accuracy[line.scenario, line.tamper]:.1f}" for line in table.itertuples()]
    text = "The paper's Fig. 4 after the last epoch, with the usefulness of the features before and after."
    return "Fine-tuning", text, table.rename(columns={"strength": "epochs"})


def objective_table(rows: pd.DataFrame, tau: float, reference: pd.DataFrame | None = None) -> Table:
    """Table 5: the disguised encoder by generator objective, mean and range over generators.

    Args:
        rows: of 10_generator_objective.
        tau: the tolerance.
        reference: the paper's printed points (`families.printed_points`); adds two columns.
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


def reference_table(compared: pd.DataFrame | None) -> Table | None:
    """This run beside the committed one: the claims whose verdicts differ; None without a reference or a difference.

    Args:
        compared: as `reference.compare` gives it.
    """
    if compared is None:
        return None
    same = (compared["difference"].fillna(0) == 0) & (compared["verdict"] == compared["reference verdict"])
    if same.all():
        return None  # the reference itself, or a run that repeats it to the last digit
    differing = compared[compared["verdict"] != compared["reference verdict"]]
    text = (
        f"Of {len(compared)} claims {len(compared) - len(differing)} have the verdict of the committed run of the same "
        f"profile, and {int(same.sum())} its number to the last digit."
        + (" The others:" if len(differing) else "")
    )
    return "Against the reference", text, differing.round(4)

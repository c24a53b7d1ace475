"""Tables 1, 2 and 7 of the report, and every tamper at one tolerance: pure functions of rows and measures."""

from collections.abc import Mapping

import pandas as pd

from sslauth_utils.results import select, summarise
from sslauth_utils.tables import Table, side_by_side, with_interval
from sslauth_utils.tolerance import Matched, at_one_tolerance

_SHOWN = ("clean accuracy", "backdoored accuracy", "attack success", "ASR-B")


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
    return "What holds the keys", text, table.fillna("")


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
        "stricter cosine would not."
    )
    return "One tolerance", text, pd.DataFrame(lines).fillna("")


def fine_tuning_table(rows: pd.DataFrame, measures: pd.DataFrame, tau: float) -> Table:
    """Fig. 4 in numbers: after the last epoch, by way of fine-tuning."""
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    last = rows[rows["strength"] == rows.groupby(["scenario", "tamper"])["strength"].transform("max")]
    table = side_by_side(summarise(last, ["scenario", "tamper", "strength", "scheme"], tau),
                         ["scenario", "tamper", "strength"])  # fmt: skip
    for when in ("clean", "tuned"):
        chosen = select(measures, {"quantity": f"kNN accuracy {when}"})
        accuracy = chosen.groupby(["scenario", "tamper"])["value"].mean()
        table[f"kNN {when} %"] = [
            f"{100 * accuracy[line.scenario, line.tamper]:.1f}" for line in table.itertuples()
        ]
    text = "The paper's Fig. 4 after the last epoch, with the usefulness of the features before and after."
    return "Fine-tuning", text, table.rename(columns={"strength": "epochs"})

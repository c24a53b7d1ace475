"""Plain sentences that notebooks print under a table or a figure. Every number in them comes from rows."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sslauth_utils.attacks.backdoor import BackdoorSettings
from sslauth_utils.claims.reference import reference_claims
from sslauth_utils.claims.statistics import amplification, summarise
from sslauth_utils.report.tables import with_interval

#: what the paper promises of its attacks
ATTACK_SUCCESS = 0.95
#: of triggered images: an attack that fails on more of them is no working backdoor
BROKEN = 0.5
WIDTH = 100  # columns that JupyterLab shows of a printed line without breaking it in mid-word
NAMES = {"Trans": "G_min", "Trans G_max": "G_max", "Trans G_ini": "G_ini"}


def say(text: str) -> None:
    """Print `text` in lines of at most `WIDTH` columns, broken between words; intervals and "5 %" stay whole."""
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        whole = re.sub(r" (?=%)|(?<=\d,) (?=-?\d)", "\u00a0", line)  # no blank to textwrap
        lines = textwrap.fill(whole, WIDTH, subsequent_indent=2 * indent, break_on_hyphens=False)
        print(lines.replace("\u00a0", " "))


def pruning(rows: pd.DataFrame, tau: float) -> str:
    """How Trans and DCmp fall with the pruning rate, and where each first rejects.

    Args:
        rows: of 05_pruning, one encoder.
    """
    table = summarise(rows[rows["tamper"] == "pruning"], ["scheme", "strength"], tau).set_index(["scheme", "strength"])
    dcmp, trans = table.loc["DCmp"], table.loc["Trans"]
    below = int((trans["agreement"] < dcmp["agreement"]).sum())
    firsts = []
    for name, part in (("Trans", trans), ("DCmp", dcmp)):
        rejected = part.index[part["passed"] < 100]
        firsts.append(f"{name} rejects from {100 * rejected[0]:g} % on" if len(rejected) else f"{name} never rejects")
    return f"Seen here: Trans lies below DCmp at {below} of {len(dcmp)} rates. {firsts[0]}; {firsts[1]}."


def magnification(rows: pd.DataFrame, alike: pd.Series, rate: float) -> str:
    """Which generator magnifies more under pruning by `rate`, and how alike its images of different keys are.

    Args:
        rows: of 05_pruning, one encoder.
        alike: by objective, the mean SSIM between a generator's images of different keys.
    """
    table = amplification(rows[(rows["tamper"] == "pruning")], ["strength"])
    table = table[(table["strength"] - rate).abs() < 1e-9].set_index("scheme")
    if not set(NAMES) <= set(table.index):
        return f"No κ for all three generators at {100 * rate:g} % pruning here."
    order = sorted(NAMES, key=lambda scheme: -table.loc[scheme, "kappa"])
    kappas = ", ".join(f"{table.loc[scheme, 'kappa']:.3g} for {NAMES[scheme]}" for scheme in order)
    pictures = ", ".join(f"{alike[NAMES[scheme][2:]]:.2f} for {NAMES[scheme]}" for scheme in order)
    told = f"Seen here: at {100 * rate:g} % pruning κ is {kappas}.\n"
    if (table.loc[list(NAMES), "kappa"] < 1).any():
        small = [NAMES[scheme] for scheme in order if table.loc[scheme, "kappa"] < 1]
        told += f"Below 1, as with {' and '.join(small)}, a generator hides a change instead of magnifying it.\n"
    return told + (
        f"What is known of the reason: the mean SSIM between images of different keys is {pictures}. Near 1 a "
        "generator makes one picture of all keys, and so hardly another one of a changed feature."
    )


def share_of_rate(recipe: Mapping[str, Any], weight: float) -> float:
    """What `shared_rate` leaves of the learning rate where the imitation loss weighs `weight`.

    Args:
        recipe: the parameters of 06_backdoor.
    """
    named = {name: recipe[name] for name in ("learning_rate", "lambda1", "lambda2", "shared_rate")}
    return BackdoorSettings(**named, imitation=weight).rate(0, 1) / recipe["learning_rate"]


def attack_success(
    measures: pd.DataFrame, recipe: Mapping[str, Any], shadow: int, plain: Mapping[str, float] | None = None
) -> str:
    """Whether each attack works as well as the paper says, and what is known of the reason.

    Args:
        measures: of 06_backdoor or 07_imitation, one encoder, without lines by epoch.
        recipe: the parameters of 06_backdoor.
        shadow: how many shadow images the attack has.
        plain: where `measures` are of 07_imitation, by target the success of the same attack without imitation loss.
    """
    found = measures[measures["quantity"] == "attack success"]
    several = found["strength"].nunique() > 1
    parts = [
        f"{100 * line.value:.0f} % for {line.tamper.split()[-1]}" + (f" at λ = {line.strength:g}" if several else "")
        for line in found.itertuples()
    ]
    good = int((found["value"] > ATTACK_SUCCESS).sum())
    told = f"Seen here: attack success is {', '.join(parts)}. The paper says above {100 * ATTACK_SUCCESS:g} %: "
    told += f"{good} of {len(found)} reach it."
    broken = int((found["value"] <= BROKEN).sum())
    if broken:
        told += f"\n{broken} of {len(found)} are no working backdoors: the trigger fails on half of the images or more."
    if good == len(found):
        return told
    told += (
        f"\nWhat is known of the reason: this attack has {recipe['epochs']} epochs on {shadow:,} shadow images. "
        "BadEncoder has 200 epochs on all images."
    )
    for weight in sorted(set(found.loc[found["strength"] > 0, "strength"])):
        told += (
            f"\nλ = {weight:g} weighs the imitation loss {weight:g} times as much as the loss of the trigger, and the "
            f"learning rate is {100 * share_of_rate(recipe, weight):.0f} % of that of 06_backdoor."
        )
    if plain:
        shares = ", ".join(f"{100 * share:.0f} % for {target}" for target, share in plain.items())
        told += f"\nWithout imitation loss as many epochs give {shares}."
    return told + "\nWhether that is the whole reason has not been tested here."


def utility(measures: pd.DataFrame) -> str:
    """What each attack costs the task it is made for.

    Args:
        measures: of 06_backdoor, one encoder.
    """
    table = measures.pivot(index="tamper", columns="quantity", values="value").mul(100)
    table = table.loc[list(dict.fromkeys(measures["tamper"]))]
    before, after = table["clean accuracy"], table["backdoored accuracy"]
    parts = [f"{before[tamper]:.1f} to {after[tamper]:.1f} % for {tamper.split()[-1]}" for tamper in table.index]
    worst = (after - before).idxmin()
    return (
        f"Seen here: accuracy goes from {', '.join(parts)}. The largest change is {after[worst] - before[worst]:+.1f} "
        f"points, for {worst.split()[-1]}."
    )


def backdoor(rows: pd.DataFrame, tau: float, printed: pd.DataFrame) -> str:
    """Whether a backdoor moves the keys as far as the paper says, and whether a key passes.

    Args:
        rows: of 06_backdoor, one encoder.
        printed: the paper's numbers, as `families.printed_points` gives them.
    """
    table = summarise(rows[rows["scheme"].isin(["DCmp", "Trans"])], ["tamper", "scheme"], tau)
    table = table.set_index("tamper").loc[list(dict.fromkeys(rows["tamper"]))].reset_index()
    printed = printed[(printed["measure"] == "agreement") & printed["scenario"].isin(set(rows["scenario"]))]
    schemes = dict(tuple(table.groupby("scheme")))
    verdicts = [f"{scheme} rejects {int((lines['passed'] < 100).sum())} of {len(lines)} encoders"
                for scheme, lines in schemes.items()]  # fmt: skip
    told = [f"Seen here: {', '.join(verdicts)}."]
    for scheme, lines in schemes.items():
        targets = [tamper.split()[-1] for tamper in lines["tamper"]]
        agreement, passing = (
            ", ".join(f"{value:{digits}} % for {target}" for value, target in zip(lines[name], targets, strict=True))
            for name, digits in (("agreement", ".1f"), ("auth_success", "g"))
        )
        paper = printed[printed["scheme"] == scheme]["paper"]
        said = f"; the paper has {paper.min():g} to {paper.max():g} %" if len(paper) else ""
        keys = f"Keys that pass: {passing}." if lines["auth_success"].any() else "No key passes."
        told.append(f"{scheme}: agreement is {agreement}{said}. {keys}")
    return "\n".join(told)


def disguise(rows: pd.DataFrame, tau: float) -> str:
    """Whether the disguise deceives DCmp and Trans, attack by attack.

    Args:
        rows: of 07_imitation, one encoder, without rows by epoch.
    """
    rows = rows[rows["scheme"].isin(["DCmp", "Trans"])]
    if rows.empty:
        return "No attack left an encoder that could be scored."
    table = summarise(rows, ["tamper", "strength", "scheme"], tau).set_index(["tamper", "strength", "scheme"])
    told = ["Seen here:"]
    for tamper, strength in dict.fromkeys(zip(rows["tamper"], rows["strength"], strict=True)):
        verdicts = []
        for scheme in ("DCmp", "Trans"):
            line = table.loc[(tamper, strength, scheme)]
            verdict = "is deceived" if line["passed"] == 100 else "rejects"
            verdicts.append(f"{scheme} {verdict} ({line['auth_success']:.0f} % of keys pass)")
        told.append(f"{tamper.split()[-1]}, λ = {strength:g}: {verdicts[0]}, {verdicts[1]}.")
    dcmp, trans = (table.xs(scheme, level="scheme") for scheme in ("DCmp", "Trans"))
    deceived = [int((lines["passed"] == 100).sum()) for lines in (dcmp, trans)]
    told.append(
        f"Of {len(dcmp)} disguises {deceived[0]} deceive DCmp and {deceived[1]} deceive Trans. DCmp's agreement is "
        f"above 99.9 % for {int((dcmp['agreement'] > 99.9).sum())}."
    )
    if (dcmp["passed"] < 100).any():
        worst = dcmp["worst"].min()
        told.append(
            f"What is known of the reason: to deceive DCmp the imitation loss must bring every key above "
            f"{100 * tau:g} %. Here it left the worst key at {worst:.2f} % and the mean of that encoder's keys at "
            f"{dcmp.loc[dcmp['worst'].idxmin(), 'agreement']:.2f} %."
        )
    return "\n".join(told)


def reference(claims: Sequence[str], profile: str = "lite") -> str:
    """What the committed reference run of `profile` measured for these claims, one line each."""
    found = reference_claims(profile, claims)
    if found.empty:
        return f"There is no reference run of profile {profile} to set beside it."
    lines = [
        f"  {line.quantity}: {with_interval(line.measured, line.low, line.high, 2)}, {line.verdict}"
        for line in found.itertuples()
    ]
    return "\n".join([f"The reference run of profile {profile}, with real images, has", *lines])

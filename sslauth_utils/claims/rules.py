"""The rules that decide a claim: what they ask of a measured number and its interval."""

from typing import Any

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.measures import MEASURES

RULES = {"within", "factor", "below", "above", "between", "at_least", "at_most"}


#: a bootstrap over fewer seeds than this does not say what other encoders would do
ENOUGH_SEEDS = 5


REPRODUCED, NOT_REPRODUCED, NOT_TESTED = "reproduced", "not reproduced", "not tested at this size"


def check_fields(claim: dict[str, Any], own: set[str], where: str) -> None:
    """See that `claim` has what `measure` and `holds` need, and the fields `own` beside.

    Raises:
        UserError: an unknown or missing field, measure or rule; `where` begins the sentence.
    """
    needed = own | {"quantity", "notebook", "where", "measure", "rule"}
    if wrong := (set(claim) - {"versus", "table"}) ^ needed:
        raise UserError(f"{where} has the wrong fields: {wrong}.")
    if claim["measure"] not in MEASURES:
        raise UserError(f"{where} has the unknown measure {claim['measure']!r}.")
    if len(claim["rule"]) != 1 or not set(claim["rule"]) <= RULES:
        raise UserError(f"{where} has the unknown rule {claim['rule']}.")
    if {"within", "factor"} & set(claim["rule"]) and not isinstance(claim["paper"], int | float):
        raise UserError(f"{where} is decided by a distance, but states no number.")


def holds(claim: dict[str, Any], measured: float, low: float, high: float) -> bool:
    """Whether these numbers meet the claim's rule."""
    (kind, bound), slack = next(iter(claim["rule"].items())), 1e-9
    return {
        "within": lambda: abs(measured - float(claim["paper"])) <= bound + slack,
        "factor": lambda: 1 / bound - 1e-6 <= (100 - measured) / (100 - float(claim["paper"])) <= bound + 1e-6,
        "below": lambda: high < bound,
        "above": lambda: low > bound,
        "between": lambda: bound[0] < low and high < bound[1],
        "at_least": lambda: measured >= bound - slack,
        "at_most": lambda: measured <= bound + slack,
    }[kind]()


def rule_text(claim: dict[str, Any]) -> str:
    """The rule in words, for the report."""
    kind, bound = next(iter(claim["rule"].items()))
    each = f", with each seed alone as well if there are 2 to {ENOUGH_SEEDS - 1}"
    if kind == "between":
        return f"95 % interval between {bound[0]:g} and {bound[1]:g}{each}"
    return {
        "within": f"within {bound:g} of the paper's number",
        "factor": f"at most {bound:g} times as far from 100 as the paper's number, and no {bound:g} times nearer",
        "below": f"95 % interval below {bound:g}{each}",
        "above": f"95 % interval above {bound:g}{each}",
        "at_least": f"at least {bound:g}",
        "at_most": f"at most {bound:g}",
    }[kind]

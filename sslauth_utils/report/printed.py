"""The paper's tables beside ours: every number that it prints for a cell, and what this run measures there."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sslauth_utils.claims.families import POINTS
from sslauth_utils.report.cells import look
from sslauth_utils.report.numbers import with_digits

ENCODERS = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
TARGETS = {"stl10": "STL-10", "gtsrb": "GTSRB", "svhn": "SVHN"}
NAMES = {"agreement": "agreement %", "auth_success": "authentication success %", "attack": "attack success %"}


def printed_beside_ours(
    summary: pd.DataFrame, claims: list[dict[str, Any]], played: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """One line a cell of the paper's table, with the paper's and our numbers.

    Args:
        summary: as `judge.evaluate` gives it; the claims that are wanted.
        claims: as `families.read_claims` gives them.
        played: `opening.played_by`: the sets that play the paper's.

    Returns:
        Lines with encoder, change, scheme (texts) and cells: name of the number (`NAMES`) to paper, measured, interval,
        sign and kind. No line without a printed number.
    """
    written = {claim["id"]: claim for claim in claims}
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for found in summary.itertuples():
        claim = written.get(found.id)
        if claim is None or not isinstance(claim["paper"], int | float) or (name := _number(claim)) is None:
            continue
        where = claim["where"]
        encoder = ENCODERS.get(where.get("scenario"), "both")
        scheme = "" if name == "attack" else str(where.get("scheme", ""))
        measured, interval = with_digits(found.measured, found.low, found.high)
        sign, kind = look(found.verdict)
        cell = {"paper": f"{claim['paper']:g}", "measured": measured, "interval": interval, "sign": sign, "kind": kind}
        key = (encoder, _change(where, played or {}), _scheme(scheme))
        lines.setdefault(key, {})[NAMES[name]] = cell
    return [
        {"encoder": encoder, "change": change, "scheme": scheme, "cells": cells}
        for (encoder, change, scheme), cells in lines.items()
    ]


def _number(claim: dict[str, Any]) -> str | None:
    """Which of `NAMES` a claim's printed number is; None if it is no cell of a table."""
    where = claim["where"]
    if any(isinstance(where.get(name), list) for name in ("scheme", "tamper", "strength", "scenario")):
        return None
    if where.get("quantity") == "attack success":
        return "attack"
    return POINTS.get(claim["measure"]) if isinstance(where.get("scheme"), str) else None


def _change(where: dict[str, Any], played: Mapping[str, str]) -> str:
    """What was done to the encoder, in words."""
    tamper, strength = str(where.get("tamper", "")), where.get("strength")
    kind, _, target = tamper.partition(" ")
    if kind in ("backdoor", "disguised") and target in TARGETS:
        name = TARGETS[target]
        return f"{kind}, {played[name]} (for {name})" if name in played else f"{kind}, {name}"
    if tamper == "pruning" and strength is not None:
        text = f"pruned by {100 * strength:g} %"
    elif tamper == "rounding":
        text = f"{strength:g} decimals"
    else:
        text = tamper if strength is None else f"{tamper}, {strength:g}"
    keys = {"id": ", ID keys", "ood": ", OOD keys"}.get(where.get("keys"), "")
    return text + keys


def _scheme(scheme: str) -> str:
    names = {"Trans": "Trans, G_min", "Trans G_max": "Trans, G_max", "Trans G_ini": "Trans, G_ini"}
    return names.get(scheme, scheme.replace("mlp", "MLP to"))

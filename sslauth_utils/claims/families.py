"""The papers' claims, as ``config/claims`` states them: each written once for all cells that differ by axes only."""

from pathlib import Path
from typing import Any

import pandas as pd

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import CLAIMS
from sslauth_utils.claims.rules import check_fields

#: measures that a figure draws as points, and what they are points of
POINTS = {
    "agreement": "agreement", "generator_agreement": "agreement",
    "auth_success": "auth_success", "generator_success": "auth_success",
}  # fmt: skip


def read_claims(folder: Path = CLAIMS) -> list[dict[str, Any]]:
    """The claims of all files in `folder`, in the order in which they stand.

    Raises:
        UserError: an unknown or missing field, measure or rule, or an id used twice.
    """
    claims = []
    for path in sorted(folder.glob("*.yaml")):
        claims += read_yaml(path)
    for claim in claims:
        check_fields(claim, {"id", "source", "paper", "tested_in"}, f"{folder}: claim {claim.get('id')}")
    ids = [claim["id"] for claim in claims]
    if len(set(ids)) != len(ids):
        raise UserError(f"{folder}: two claims have the same id.")
    return claims


def printed_points(notebook: str) -> pd.DataFrame:
    """The paper's numbers for single points of a notebook's rows, to draw behind ours.

    Returns:
        Columns scenario, scheme, measure (agreement or auth_success), paper (a number), and
        strength and tamper where the claim says them.
    """
    points = [
        {name: claim["where"].get(name) for name in ("scenario", "scheme", "strength", "tamper")}
        | {"measure": POINTS[claim["measure"]], "paper": claim["paper"]}
        for claim in read_claims()
        if claim["notebook"] == notebook
        and claim["measure"] in POINTS
        and isinstance(claim["paper"], int | float)
        and isinstance(claim["where"].get("scheme"), str)
        and isinstance(claim["where"].get("scenario"), str)
    ]
    return pd.DataFrame(points)

"""The papers' claims, as ``config/claims`` states them: each written once for all cells that differ by axes only.

The head of ``config/claims/sslauth.yaml`` says how a family is written. Here families become claims.
"""

import re
from collections.abc import Iterable, Iterator
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
#: of a claim; a family has these, and axes, cells or claims
FIELDS = {"id", "source", "quantity", "paper", "notebook", "table", "where", "measure", "versus", "rule", "tested_in"}
_NAME = re.compile(r"\{(\w+)\}")
#: one axis of a family: value to what it carries
Axis = dict[Any, dict[str, Any]]


def read_claims(folder: Path = CLAIMS) -> list[dict[str, Any]]:
    """The claims of all files in `folder`, SSL-Auth's first, their families expanded, in the order in which they stand.

    Raises:
        UserError: an unknown or missing field, measure or rule, an id used twice, or axes, names or cells that do
            not fit each other; it names the file and the family or claim.
    """
    claims: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.yaml"), key=lambda path: (path.stem != "sslauth", path.stem)):
        content = read_yaml(path)
        if not isinstance(content, dict) or not {"claims"} <= set(content) <= {"shared", "claims"}:
            raise UserError(f"{path} must hold the section claims, and beside it at most shared.")
        for claim in expand(content["claims"], str(path)):
            if claim.get("id") in claims:
                raise UserError(f"{path}: two claims have the same id, {claim['id']}.")
            check_fields(claim, {"id", "source", "paper", "tested_in"}, f"{path}: claim {claim.get('id')}")
            claims[claim["id"]] = claim
    return list(claims.values())


def expand(families: list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """The claims of `families`, in their order; of the axes of one the last changes fastest.

    Raises:
        UserError: axes, names or cells do not fit each other; `where` begins the sentence.
    """
    return _expand(families, {}, {}, {}, where)


def _expand(
    families: list[dict[str, Any]], outer: dict[str, Any], axes: dict[str, Axis], names: dict[str, Any], where: str
) -> Iterator[dict[str, Any]]:
    """`expand` in one cell of families that hold these: `outer` are their fields, `names` what their axes give here."""
    if not isinstance(families, list) or not all(isinstance(family, dict) for family in families):
        raise UserError(f"{where}: claims must be a list of families, each of them names with values.")
    for family in families:
        at = f"{where}: family {_title(family)}"
        own = _own_axes(family, names, at)
        fields = _merged(outer, {name: value for name, value in family.items() if name in FIELDS})
        _check(family, axes | own, at)
        for known in _each(own, names, at):
            if "claims" in family:
                yield from _expand(family["claims"], fields, axes | own, known, where)
            else:
                yield _filled(_merged(fields, _cell(family, axes | own, known)), known, at)


def _own_axes(family: dict[str, Any], names: dict[str, Any], at: str) -> dict[str, Axis]:
    """The axes of this family itself, those that are lists without anything carried."""
    axes, taken = {}, set(names)
    for axis, values in family.get("axes", {}).items():
        values = {value: {} for value in values} if isinstance(values, list) else values
        if not isinstance(values, dict) or not all(isinstance(carried, dict) for carried in values.values()):
            raise UserError(f"{at}: the axis {axis} must be a list of values, or hold for each value what it carries.")
        for given in ({axis}, set().union(*values.values())):
            if twice := given & taken:
                raise UserError(f"{at} gives the name {_listed(twice)} a second time.")
            taken |= given
        axes[axis] = values
    return axes


def _each(axes: dict[str, Axis], names: dict[str, Any], at: str) -> Iterator[dict[str, Any]]:
    """`names` and what `axes` give, for every cell."""
    if not axes:
        yield names
        return
    (axis, values), *rest = axes.items()
    for value, carried in values.items():
        known = names | {axis: value}
        yield from _each(dict(rest), known | _filled(carried, known, at), at)


def _check(family: dict[str, Any], axes: dict[str, Axis], at: str) -> None:
    """See that a family has known fields only, that its id shows every axis, and that its cells are the axes'."""
    if unknown := set(family) - FIELDS - {"axes", "cells", "claims"}:
        raise UserError(f"{at} has unknown fields: {_listed(unknown)}.")
    if "claims" in family:
        if own := {"id", "cells"} & set(family):
            raise UserError(f"{at}: what holds claims has no {_listed(own)} of its own.")
        return
    shown = set(_NAME.findall(str(family.get("id"))))
    for axis, values in axes.items():
        if not shown & {axis}.union(*values.values()):
            raise UserError(f"{at} does not use the axis {axis} in its id.")
    if "cells" in family:
        _check_cells(family["cells"], list(axes.items()), at)


def _check_cells(cells: Any, axes: list[tuple[str, Axis]], at: str) -> None:
    if not axes:
        return
    (axis, values), *rest = axes
    given = set(cells) if isinstance(cells, dict) else set()
    if missing := set(values) - given:
        raise UserError(f"{at} lacks the cell of {axis} {_listed(missing)}.")
    if unknown := given - set(values):
        raise UserError(f"{at} has a cell of {axis} {_listed(unknown)}, which is not on the axis.")
    for inner in cells.values():
        _check_cells(inner, rest, at)


def _cell(family: dict[str, Any], axes: dict[str, Axis], names: dict[str, Any]) -> dict[str, Any]:
    """The fields that only this cell of the family has."""
    if "cells" not in family:
        return {}
    cell = family["cells"]
    for axis in axes:
        cell = cell[names[axis]]
    return cell if isinstance(cell, dict) else {"paper": cell}


def _merged(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """The fields of both, the inner's before the outer's; but ``where`` asks for all that either asks for."""
    both = outer | inner
    if "where" in outer and "where" in inner:
        both["where"] = outer["where"] | inner["where"]
    return both


def _filled(value: Any, names: dict[str, Any], at: str) -> Any:
    """`value` with every "{name}" in it replaced."""
    if isinstance(value, dict):
        return {key: _filled(inner, names, at) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, names, at) for inner in value]
    if not isinstance(value, str):
        return value
    if unknown := set(_NAME.findall(value)) - set(names):
        raise UserError(f"{at} uses the name {_listed(unknown)}, which no axis gives.")
    if whole := _NAME.fullmatch(value):
        return names[whole[1]]
    return _NAME.sub(lambda found: str(names[found[1]]), value)


def _title(family: dict[str, Any]) -> str:
    """The id of a family, or of the first that it holds."""
    if "id" not in family and isinstance(inner := family.get("claims"), list) and inner and isinstance(inner[0], dict):
        return _title(inner[0])
    return str(family.get("id"))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, values)))


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

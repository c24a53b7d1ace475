"""Families become claims: today's list to the letter, and any other by axes, names, cells and groups."""

import copy
import hashlib
import itertools
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.files import read_yaml
from sslauth_utils.base.paths import CLAIMS
from sslauth_utils.claims.families import expand, read_claims

#: one line a claim of sslauth.yaml: its id, and the first twelve digits of the SHA-256 of its sorted JSON
EXPANDED = Path(__file__).with_name("expanded.txt")


def line(claim):
    text = json.dumps(claim, sort_keys=True, ensure_ascii=False)
    return f"{claim['id']} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def test_the_families_of_the_paper_give_every_claim_as_it_was_and_in_its_place():
    found = [line(claim) for claim in expand(read_yaml(CLAIMS / "sslauth.yaml")["claims"], "sslauth.yaml")]
    wanted = EXPANDED.read_text(encoding="utf-8").splitlines()
    changed = [f"{old} is now {new}" for old, new in itertools.zip_longest(wanted, found) if old != new]
    assert not changed, "\n".join(changed)
    assert len(found) == 197


def test_reading_changes_nothing_of_what_is_read_next():
    first = copy.deepcopy(read_claims())
    for claim in read_claims():
        claim["where"]["scheme"] = claim["rule"]["within"] = None
    assert read_claims() == first


# --- axes, names, cells, groups ---------------------------------------------------------------------------------------


def family(**fields):
    return {"id": "{scheme}-{rate}", "axes": {"scheme": ["DCmp", "Trans"], "rate": [1, 2]}} | fields


def test_the_last_axis_changes_fastest():
    assert [claim["id"] for claim in expand([family()], "f")] == ["DCmp-1", "DCmp-2", "Trans-1", "Trans-2"]


def test_a_text_that_is_one_name_keeps_its_kind_and_others_are_text():
    axes = {"rate": {1: {"strength": 0.1, "schemes": ["DCmp", "mlp {rate}"]}}}
    where = {"strength": "{strength}", "scheme": "{schemes}", "tamper": "{rate} of {strength}"}
    [claim] = expand(
        [family(id="{rate}", axes=axes, where=where, rule={"at_most": "{rate}"}, paper="{strength} %")], "f"
    )
    assert claim == {
        "id": 1, "where": {"strength": 0.1, "scheme": ["DCmp", "mlp 1"], "tamper": "1 of 0.1"}, "rule": {"at_most": 1},
        "paper": "0.1 %",
    }  # fmt: skip
    assert type(claim["rule"]["at_most"]) is int and type(claim["where"]["strength"]) is float


def test_what_a_value_carries_may_use_the_axes_before_it():
    axes = {"scheme": {"DCmp": {"says": "DCmp at {rate}"}, "Trans": {"says": "the same by Trans"}}}
    claims = expand([family(axes={"rate": [1]} | axes, quantity="{says}")], "f")
    assert [claim["quantity"] for claim in claims] == ["DCmp at 1", "the same by Trans"]
    with pytest.raises(UserError, match=r"^f: family \{scheme\}-\{rate\} uses the name rate, which no axis gives\.$"):
        list(expand([family(axes=axes | {"rate": [1]})], "f"))


def test_cells_are_numbers_or_fields_of_one_claim():
    cells = {"DCmp": {1: 99.5, 2: 100}, "Trans": {1: 0, 2: {"paper": "{rate} %", "rule": {"within": 1}}}}
    claims = list(expand([family(cells=cells, rule={"within": 0})], "f"))
    assert [(claim["paper"], claim["rule"]["within"]) for claim in claims] == [(99.5, 0), (100, 0), (0, 0), ("2 %", 1)]


def test_a_group_gives_its_fields_and_goes_through_its_families_cell_by_cell():
    inner = [
        {"id": "{scheme}-a", "where": {"tamper": "a"}, "cells": {"DCmp": 1, "Trans": 2}},
        {"id": "{scheme}-b-{rate}", "axes": {"rate": [1, 2]}, "measure": "rise", "source": "elsewhere",
         "where": {"scheme": "SHA-256"}},
    ]  # fmt: skip
    group = {"axes": {"scheme": ["DCmp", "Trans"]}, "source": "here", "where": {"scheme": "{scheme}"}, "claims": inner}
    assert list(expand([group, {"id": "last"}], "f")) == [
        {"id": "DCmp-a", "source": "here", "where": {"scheme": "DCmp", "tamper": "a"}, "paper": 1},
        {"id": "DCmp-b-1", "source": "elsewhere", "where": {"scheme": "SHA-256"}, "measure": "rise"},
        {"id": "DCmp-b-2", "source": "elsewhere", "where": {"scheme": "SHA-256"}, "measure": "rise"},
        {"id": "Trans-a", "source": "here", "where": {"scheme": "Trans", "tamper": "a"}, "paper": 2},
        {"id": "Trans-b-1", "source": "elsewhere", "where": {"scheme": "SHA-256"}, "measure": "rise"},
        {"id": "Trans-b-2", "source": "elsewhere", "where": {"scheme": "SHA-256"}, "measure": "rise"},
        {"id": "last"},
    ]


VALUES = st.lists(st.integers(0, 99) | st.text("abcdefg", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)


@given(st.lists(VALUES, min_size=1, max_size=3), st.data())
def test_there_is_one_claim_a_cell_however_the_axes_are_spread_over_groups(values, data):
    axes = {f"axis{number}": given for number, given in enumerate(values)}
    cells = {}
    for number, cell in enumerate(itertools.product(*values)):
        part = cells
        for value in cell[:-1]:
            part = part.setdefault(value, {})
        part[cell[-1]] = number
    flat = {"id": "/".join(f"{{{axis}}}" for axis in axes), "axes": axes, "cells": cells,
            "where": {axis: f"{{{axis}}}" for axis in axes}}  # fmt: skip
    claims = list(expand([flat], "f"))
    assert [tuple(claim["where"].values()) for claim in claims] == list(itertools.product(*values))
    assert [claim["paper"] for claim in claims] == list(range(len(claims)))
    assert all(str(claim["id"]) == "/".join(map(str, claim["where"].values())) for claim in claims)
    outside = data.draw(st.integers(0, len(axes)))
    inner = flat | {"axes": dict(list(axes.items())[outside:])}
    assert list(expand([{"axes": dict(list(axes.items())[:outside]), "claims": [inner]}], "f")) == claims


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"note": 1}, "has unknown fields: note."),
        ({"axes": {"scheme": ["DCmp"], "rate": [1], "keys": ["id"]}}, "does not use the axis keys in its id."),
        ({"id": "x-{rate}"}, "does not use the axis scheme in its id."),
        ({"quantity": "{Encoder} encoder"}, "uses the name Encoder, which no axis gives."),
        ({"where": {"scheme": ["DCmp", "{form} 8"]}}, "uses the name form, which no axis gives."),
        ({"cells": {"DCmp": {1: 0, 2: 0}}}, "lacks the cell of scheme Trans."),
        ({"cells": {"DCmp": {1: 0, 2: 0}, "Trans": {1: 0}}}, "lacks the cell of rate 2."),
        ({"cells": {"DCmp": {1: 0, 2: 0}, "Trans": 5}}, "lacks the cell of rate 1, 2."),
        ({"cells": {"DCmp": {1: 0, 2: 0}, "Trans": {1: 0, 2: 0, 3: 0}}},
         "has a cell of rate 3, which is not on the axis."),
        ({"axes": {"scheme": "DCmp", "rate": [1]}},
         ": the axis scheme must be a list of values, or hold for each value what it carries."),
        ({"axes": {"scheme": {"DCmp": "dcmp"}, "rate": [1]}},
         ": the axis scheme must be a list of values, or hold for each value what it carries."),
        ({"axes": {"scheme": {"DCmp": {"rate": 5}}, "rate": [1]}}, "gives the name rate a second time."),
        ({"axes": {"rate": {1: {"rate": 5}}, "scheme": ["DCmp"]}}, "gives the name rate a second time."),
        ({"claims": []}, ": what holds claims has no id of its own."),
    ],
)  # fmt: skip
def test_a_faulty_family_is_told_with_its_file(tmp_path, change, sentence):
    faulty = family(**change)
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"claims": [faulty]}, sort_keys=False))
    with pytest.raises(UserError) as caught:
        read_claims(tmp_path)
    separator = "" if sentence.startswith(":") else " "
    assert str(caught.value) == f"{tmp_path / 'a.yaml'}: family {faulty['id']}{separator}{sentence}"


def test_an_axis_of_a_group_is_used_by_every_family_in_it_and_not_given_again():
    group = {"axes": {"scheme": ["DCmp"]}, "claims": [{"id": "{scheme}-a"}, {"id": "b"}]}
    with pytest.raises(UserError, match=r"^f: family b does not use the axis scheme in its id\.$"):
        list(expand([group], "f"))
    with pytest.raises(UserError, match=r"gives the name scheme a second time\.$"):
        list(expand([{"axes": {"scheme": ["DCmp"]}, "claims": [family()]}], "f"))
    with pytest.raises(UserError, match=r"^f: family \{scheme\}-a has unknown fields: note\.$"):
        list(expand([group | {"note": 1}], "f"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "must hold the section claims, and beside it at most shared."),
        ({"shared": {}}, "must hold the section claims, and beside it at most shared."),
        ({"claims": [], "claim": []}, "must hold the section claims, and beside it at most shared."),
        ({"claims": {"id": "a"}}, ": claims must be a list of families, each of them names with values."),
        ({"claims": ["a"]}, ": claims must be a list of families, each of them names with values."),
    ],
)
def test_a_faulty_file_is_told(tmp_path, content, sentence):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        read_claims(tmp_path)
    assert str(caught.value) == f"{path}{'' if sentence.startswith(':') else ' '}{sentence}"


def test_two_files_are_read_in_the_order_of_their_names_and_share_no_id(tmp_path):
    claim = read_claims()[0]
    for name, number in (("b", 1), ("a", 2), ("c", 2)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"claims": [claim | {"id": f"claim-{number}"}]}))
    with pytest.raises(UserError, match=r"c\.yaml: two claims have the same id, claim-2\.$"):
        read_claims(tmp_path)
    (tmp_path / "c.yaml").unlink()
    assert [claim["id"] for claim in read_claims(tmp_path)] == ["claim-2", "claim-1"]

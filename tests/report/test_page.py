"""The report: one page that needs nothing else, says every verdict, and shows what it is given literally."""

import base64
import re
from html.parser import HTMLParser

import markupsafe
import pandas as pd
import pytest

from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.findings import COLUMNS as FINDING
from sslauth_utils.claims.judge import COLUMNS
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, rule_text
from sslauth_utils.report.page import build_report, number

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, text; and that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts, self.source = [], [], [], text
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data.strip()))

    def all(self, tag, **attributes):
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]

    def text(self, tag):
        return [text for path, text in self.texts if tag in path and text]

    def row(self, ident):
        """Cells of the claim's line, as text, each on one line."""
        [line] = re.findall(rf'<tr id="{re.escape(ident)}"[^>]*>(.*?)</tr>', self.source, re.DOTALL)
        cells = re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)
        return [" ".join(re.sub("<[^>]*>", "", cell).split()) for cell in cells]


@pytest.fixture
def claims():
    """A table of all claims: the verdicts in turn, numbers missing wherever it is not tested."""
    verdicts = [REPRODUCED, NOT_REPRODUCED, NOT_TESTED]
    lines = []
    for index, claim in enumerate(read_claims()):
        line = {name: claim[name] for name in ("id", "source", "quantity", "paper")}
        line["verdict"] = verdicts[index % 3]
        if line["verdict"] != NOT_TESTED:
            line |= {"measured": 99.123456789, "low": 98.5, "high": 99.75, "n": 200}
        line["cuts"] = "" if index % 3 == 0 else f"width 16 of 64; {claim['notebook']} cut"
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS).astype({"n": "Int64"})


@pytest.fixture
def build(tmp_path, claims):
    """`build(name=value, ...)` writes a page with some parts replaced and reads it back."""

    def build(**parts):
        picture = tmp_path / "fig05_pruning.png"
        picture.write_bytes(b"\x89PNG\r\n\x1a\n not really")
        given = {
            "profile": "demo", "note": "demo: n = 100", "lead": "Of 36 claims, 12 held.", "claims": claims,
            "tables": [("Precision loss", "In brackets intervals.", pd.DataFrame({"decimals": [2], "DCmp": ["x"]}))],
            "figures": [(picture, "Fig. 5: agreement by pruning rate.")],
            "notebooks": [("05_pruning · cifar10-s0", "../../results/demo/05_pruning/cifar10-s0/executed.ipynb")],
            "findings": pd.DataFrame([], columns=FINDING),
        }  # fmt: skip
        path = tmp_path / "figures" / "demo" / "report.html"
        build_report(path, **(given | parts))
        return Page(path.read_text(encoding="utf-8"))

    return build


def test_the_page_needs_nothing_from_outside(build):
    page = build()
    for tag in ("script", "link", "iframe", "object", "embed", "base", "form"):
        assert not page.all(tag)
    assert "http:" not in page.source and "https:" not in page.source and "//" not in re.sub(
        r"base64,[^\"]*", "", page.source)  # fmt: skip
    assert "@import" not in page.source and "url(" not in page.source
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not [attribute for _, found in page.elements for attribute in found if attribute.startswith("on")]


def test_it_says_what_it_is(build):
    page = build()
    assert page.text("title") == ["SSL-Auth, reproduced: profile demo"]
    assert page.all("html", lang="en") and page.all("meta", charset="utf-8")
    assert page.all("meta", name="viewport"), "it is to be read on a phone as well"
    assert "demo: n = 100" in " ".join(page.text("main")) and "Of 36 claims, 12 held." in page.text("main")
    assert page.text("h2") == ["The paper's claims", "Precision loss", "Figures", "Executed notebooks"]


def test_every_claim_has_its_line_with_numbers_verdict_and_rule(build, claims):
    page = build()
    assert [line["id"] for line in page.all("tr") if "id" in line] == claims["id"].tolist()
    kinds = {REPRODUCED: "good", NOT_REPRODUCED: "bad", NOT_TESTED: "idle"}
    verdicts = [found for found in page.all("span") if found.get("class", "").startswith("verdict")]
    assert [found["class"] for found in verdicts] == [f"verdict {kinds[verdict]}" for verdict in claims["verdict"]]
    assert [found["title"] for found in verdicts] == [rule_text(claim) for claim in read_claims()]
    assert "it must hold with every seed alone as well" in re.sub(r"\s+", " ", page.source)
    for claim in claims.itertuples():
        numbers = ["", "", ""] if claim.verdict == NOT_TESTED else ["99.1235", "98.5 to 99.75", "200"]
        quantity = str(markupsafe.escape(claim.quantity))
        assert page.row(claim.id) == [claim.source, quantity, str(claim.paper), *numbers, verdict_and_cuts(claim)]


def verdict_and_cuts(claim):
    return claim.verdict + (f" settings cut: 2 {claim.cuts}" if claim.cuts else "")


def test_the_counts_are_of_the_verdicts(build, claims):
    page = build()
    told = re.findall(r"<b>(\d+)</b>([^<]+)</label>", page.source)
    assert told[0] == (str(len(claims)), "all claims")
    names = (REPRODUCED, NOT_REPRODUCED, NOT_TESTED)
    assert told[1:] == [(str((claims["verdict"] == name).sum()), name) for name in names]
    assert sum(int(count) for count, _ in told[1:]) == len(claims)


def test_each_count_lists_the_claims_of_its_verdict_and_every_link_has_its_place(build, claims):
    page = build()
    boxes = {box["id"].removeprefix("only-") for box in page.all("input") if "id" in box}
    kinds = {line["class"].removeprefix("is-") for line in page.all("tr") if "id" in line}
    assert kinds <= boxes == {"good", "bad", "idle"}
    for kind in boxes:
        assert f"body:has(#only-{kind}:checked) .claims tbody tr:not(.is-{kind}, :target)" in page.source
    places = set(re.findall(r'id="([^"]+)"', page.source))
    assert set(re.findall(r'href="#([^"]+)"', page.source)) <= places


def test_missing_numbers_are_empty_cells(build, claims):
    empty = claims.assign(verdict=NOT_TESTED, measured=float("nan"), low=float("nan"), high=float("nan"), n=pd.NA)
    page = build(claims=empty, tables=[], figures=[], notebooks=[])
    assert all(page.row(ident)[3:6] == ["", "", ""] for ident in empty["id"])
    assert not re.search(r"\bnan\b|NaN|&lt;NA&gt;|None", page.source)
    assert page.text("h2") == ["The paper's claims", "Figures", "Executed notebooks"]


def test_figures_are_the_files_themselves(build, tmp_path):
    page = build()
    [image] = page.all("img")
    assert base64.b64decode(image["src"].partition("base64,")[2]) == (tmp_path / "fig05_pruning.png").read_bytes()
    assert image["alt"] == "Fig. 5: agreement by pruning rate."
    assert page.text("figcaption") == ["Fig. 5: agreement by pruning rate."]
    assert page.all("figure", id="fig05_pruning")


def test_notebooks_are_linked_relative_to_the_page(build):
    [link] = [found for found in build().all("a") if not found["href"].startswith("#")]
    assert link["href"] == "../../results/demo/05_pruning/cifar10-s0/executed.ipynb"


EVIL = """<script>alert("1 & 2")</script>'<b>"""


@pytest.mark.parametrize(
    "parts",
    [
        {"profile": EVIL},
        {"note": EVIL},
        {"lead": EVIL},
        {"tables": [(EVIL, EVIL, pd.DataFrame({EVIL: [EVIL]}))]},
        {"notebooks": [(EVIL, EVIL)]},
    ],
    ids=["profile", "note", "lead", "tables", "notebooks"],
)
def test_text_is_shown_not_run(build, parts):
    page = build(**parts)
    assert not page.all("script")
    assert any(EVIL in text for _, text in page.texts), "and nothing is lost"


def test_text_of_claims_and_captions_is_shown_not_run(build, claims, tmp_path):
    claims.loc[0, ["source", "quantity"]] = EVIL
    picture = tmp_path / "other.png"
    picture.write_bytes(b"")
    page = build(claims=claims.astype({"paper": object}), figures=[(picture, EVIL)])
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == EVIL
    assert sum(EVIL in text for _, text in page.texts) == 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [(99.123456, "99.1235"), (99.9991, "99.9991"), (100.0, "100"), (98.7654, "98.77"), (-0.5, "-0.5"),
     (0.00001234567, "1.235e-05"), (1200, "1200"), (float("nan"), ""), (None, ""), (pd.NA, "")],
)  # fmt: skip
def test_numbers_have_the_digits_that_tell_them_apart(value, shown):
    assert number(value) == shown


def test_the_same_results_give_the_same_page(build):
    assert build().source == build().source


def test_a_reason_stands_with_its_claims_and_tests(build):
    other, known = [claim["id"] for claim in read_claims()][:2]
    nothing = [float("nan")] * 3 + [pd.NA]
    few = ["few", "cause", [known], "Few & small."]
    lines = [
        [*few, "A is above 1", "before", 2.5, 2.0, 3.0, 7, "confirmed"],
        [*few, "B is below 1", "before", 2.5, 2.0, 3.0, 7, "refuted"],
        [*few, "C is 1", "before", *nothing, "not measured"],
        [*few, "D is 1", "after", 2.5, 2.0, 3.0, 7, "fits"],
        [*few, "E is 1", "after", 2.5, 2.0, 3.0, 7, "does not fit"],
        ["no reason found", "unknown", [other], "", "", "", *nothing, ""],
    ]
    page = build(findings=pd.DataFrame(lines, columns=FINDING).astype({"n": "Int64"}))
    assert "What did not reproduce, and why" in page.text("h2")
    links = [found["href"] for found in page.all("a")]
    assert [link for link in links if link in (f"#{known}", f"#{other}")] == [f"#{known}", f"#{other}"]
    assert "#reasons" in links
    assert page.source.count("<b>Cause.</b> Few &amp; small.") == 1 and page.source.count("No reason found.") == 1
    items = [re.sub(r"\s+", " ", re.sub("<[^>]*>", "", item)).strip() for item in
             re.findall(r"<li>(.*?)</li>", page.source, re.DOTALL)]  # fmt: skip
    assert items[:5] == [
        "A is above 1: 2.5 [2 to 3], n = 7 confirmed", "B is below 1: 2.5 [2 to 3], n = 7 refuted",
        "C is 1: not measured", "D is 1: 2.5 [2 to 3], n = 7 fits, written after",
        "E is 1: 2.5 [2 to 3], n = 7 does not fit, written after",
    ]  # fmt: skip
    kinds = re.findall(
        r'<span class="verdict (\w+)">(?:confirmed|refuted|not measured|[a-z ]*fit[^<]*)</span>', page.source
    )
    assert kinds == ["good", "bad", "idle", "idle", "idle"], "what was written after its rows is grey"
    [section] = re.findall(r'<section class="reason">(.*?)</section>', page.source, re.DOTALL)[:1]
    assert "settings cut: 2" in section and "width 16 of 64; " in section, "those of its claims"

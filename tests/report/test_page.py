"""The report: one page that needs nothing else, says every verdict, and shows what it is given literally."""

import base64
import re
from html.parser import HTMLParser

import markupsafe
import pandas as pd
import pytest
from drawn import TAU

from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.findings import COLUMNS as FINDING
from sslauth_utils.claims.judge import COLUMNS
from sslauth_utils.claims.questions import answer_questions, read_questions
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, rule_text
from sslauth_utils.claims.verifications import verifications
from sslauth_utils.report.answers import Answer, five_answers
from sslauth_utils.report.notes import headline
from sslauth_utils.report.numbers import number, quantity_and_unit, with_digits
from sslauth_utils.report.opening import Opening
from sslauth_utils.report.page import Report, build_report
from sslauth_utils.report.provenance import provenance
from sslauth_utils.report.sections import SECTIONS, VERDICTS, section_of, totals

VOID = {"meta", "img", "br", "hr", "input", "link"}
EVIL = """<script>alert("1 & 2")</script>'<b>"""


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
        """Cells of the claim's line, as text."""
        [line] = re.findall(rf'<tr id="{re.escape(ident)}"[^>]*>(.*?)</tr>', self.source, re.DOTALL)
        return [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)]

    def links(self):
        return [found["href"] for found in self.all("a")]

    def ids(self):
        return [found["id"] for _, found in self.elements if "id" in found]


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


NOTHING = [float("nan")] * 3 + [pd.NA]


@pytest.fixture
def build(tmp_path, claims):
    """`build(name=value, ...)` writes a page with some parts replaced and reads it back."""

    def build(**parts):
        pictures = []
        for name in ("fig00_overview", "fig05_pruning_agreement", "table9_own"):
            picture = tmp_path / f"{name}.png"
            picture.write_bytes(b"\x89PNG\r\n\x1a\n not really" + name.encode())
            pictures.append((picture, f"What {name} shows."))
        given = {
            "profile": "demo", "note": "demo: n = 100", "lead": "Of 36 claims, 12 held.", "claims": claims,
            "answers": [Answer("Is it?", "Hardly:", "of 5 all are not.", True)],
            "questions": answer_questions(claims, read_questions()),
            "tables": [("Pruning", "In brackets intervals.", pd.DataFrame({"decimals": [2], "DCmp": ["x"]})),
                       ("Every seed", "By itself.", pd.DataFrame({"seed": [0]}))],
            "figures": pictures,
            "notebooks": [("05_pruning · cifar10-s0", "../../results/demo/05_pruning/cifar10-s0/executed.html")],
            "findings": pd.DataFrame([], columns=FINDING),
        }  # fmt: skip
        path = tmp_path / "figures" / "demo" / "report.html"
        build_report(path, Report(**(given | parts)))
        return Page(path.read_text(encoding="utf-8"))

    return build


def test_the_page_needs_nothing_from_outside(build):
    page = build()
    for tag in ("link", "iframe", "object", "embed", "base", "form"):
        assert not page.all(tag)
    assert page.all("script") == [{}], "its own script stands in the page"
    text = re.sub(r"base64,[^\"]*|(?<=\n)\s*// .*", "", page.source)
    assert "http:" not in text and "https:" not in text and "//" not in text
    assert "@import" not in text and "url(" not in text
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not [attribute for _, found in page.elements for attribute in found if attribute.startswith("on")]


def test_the_answer_the_scoreboard_and_the_one_figure_come_first_then_the_paper_s_order(build):
    page = build()
    assert page.text("title") == ["SSL-Auth, reproduced: profile demo"]
    assert page.all("html", lang="en") and page.all("meta", charset="utf-8") and page.all("meta", name="viewport")
    places = [page.source.index(text) for text in (
        "demo: n = 100", "Of 36 claims, 12 held.", "<b>Hardly:</b> of 5 all are not.", 'class="tile" href="#fig4"',
        'class="tile" href="#one"', 'id="fig00_overview"', 'id="questions"', 'id="fig4"', 'id="fig5"', 'id="table1"',
        'id="table8"', 'id="claims"', "Every seed", 'id="table9_own"', 'id="notebooks"',
    )]  # fmt: skip
    assert places == sorted(places)
    assert page.all("li", **{"class": "against"}), "what contradicts the paper is marked"
    assert page.all("a", **{"class": "top"})[0]["href"] == "#top"


def test_every_tile_counts_its_verdicts_and_leads_to_its_section(build, claims):
    page = build()
    for section in SECTIONS:
        mine = claims[[section_of(source) is section for source in claims["source"]]]
        if mine.empty:
            continue
        [tile] = re.findall(rf'<a class="tile" href="#{section.key}">(.*?)</a>', page.source, re.DOTALL)
        told = " ".join(re.sub("<[^>]*>", " ", tile).split())
        counts = [(mine["verdict"] == verdict).sum() for verdict in (REPRODUCED, NOT_REPRODUCED, NOT_TESTED)]
        signs = " ".join(f"{sign} {count}" for sign, count in zip("✓✗·", counts, strict=True) if count)
        assert told == f"{section.name} {section.subject} {signs}"
        assert section.key in page.ids()


def test_every_claim_has_its_line_with_numbers_verdict_and_rule_in_words(build, claims):
    page = build()
    listed = [line for line in page.all("tr") if "id" in line]
    assert sorted(line["id"] for line in listed) == sorted(claims["id"])
    rules = {claim["id"]: rule_text(claim) for claim in read_claims()}
    signs = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", NOT_TESTED: "·"}
    for claim in claims.itertuples():
        quantity, unit = quantity_and_unit(claim.quantity)
        verdict, what, paper, here, n = (" ".join(cell.split()) for cell in page.row(claim.id))
        assert verdict == f"{signs[claim.verdict]} {VERDICTS[claim.verdict]}" and paper == str(claim.paper)
        cuts = " settings cut: 2" if claim.cuts else ""
        escaped = str(markupsafe.escape(f"{quantity} ({claim.source}) Rule: {rules[claim.id]}.{cuts}"))
        assert what == " ".join(escaped.split())
        measured = f"99.1 {unit}".strip() + " [98.5 to 99.8]"
        assert (here, n) == (("", "") if claim.verdict == NOT_TESTED else (measured, "200"))


def test_a_list_of_cut_settings_stands_once_and_its_claims_lead_there(build, claims):
    page = build()
    lists = dict(re.findall(r'<p class="quiet" id="(cuts-\d+)"><b>Settings cut, list \d+:</b> (.*?)</p>', page.source))
    assert sorted(lists.values()) == sorted(set(claims["cuts"]) - {""}) and len(lists) < (claims["cuts"] != "").sum()
    for claim in claims[claims["cuts"] != ""].itertuples():
        [ident] = re.findall(rf'<tr id="{re.escape(claim.id)}".*?href="#(cuts-\d+)"', page.source, re.DOTALL)[:1]
        assert lists[ident] == claim.cuts


def test_what_has_no_rows_is_one_line_and_no_tile_and_its_claims_are_still_listed(build, claims):
    places = claims["source"].map(lambda source: section_of(source).key)
    gone = places.isin(["pairs", "pairs-seconds", "pairs-ours", "crossing"])
    left = claims.assign(verdict=claims["verdict"].mask(gone, NOT_TESTED), measured=claims["measured"].mask(gone))
    page = build(claims=left, questions=answer_questions(left, read_questions()))
    tiles = [tile["href"] for tile in page.all("a", **{"class": "tile"})]
    assert "#deepauth" in tiles and not {"#pairs", "#pairs-seconds", "#pairs-ours", "#crossing"} & set(tiles)
    said = " ".join(re.sub("<[^>]*>", " ", page.source.partition("No rows here:")[2].partition("</p>")[0]).split())
    assert f"Crossing (checks of classifiers) {(places == 'crossing').sum()}." in said and said.endswith("has them.")
    assert all(page.row(claim) for claim in claims.loc[gone, "id"])
    assert {link[1:] for link in page.links() if link.startswith("#")} <= set(page.ids())
    asked = page.source.partition('<table class="asked">')[2].partition("</table>")[0]
    assert "Do sample pairs see more than their rivals?" not in asked and "Is pruning detected?" in asked
    assert "more questions: undecided here</summary>\nDo samples keep their labels" in page.source
    assert "No rows here" not in build().source.replace(": no rows here", "")


def test_the_opening_says_which_paper_how_small_the_run_and_what_its_words_mean(build):
    told = Opening("Li et al.", [("Encoders", "4 small", "2 large"), ("Quality", "46 %", "")], [("DCmp", "By cosine.")],
                   {"STL-10": "CIFAR-10", "ImageNet": "Tiny-ImageNet"})  # fmt: skip
    page = build(opening=told)
    places = [page.source.index(text) for text in (
        "Li et al.", "<td>4 small</td><td>2 large</td>", '<td colspan="2">46 %</td>', "Of 36 claims, 12 held.",
        "<dt>DCmp</dt> <dd>By cosine.</dd>", "<b>Hardly:</b>", 'class="tile"',
    )]  # fmt: skip
    assert places == sorted(places) and "demo: n = 100" not in page.source, "the table stands for the note"
    assert "Li et al." not in build().source and '<details class="words"' not in build().source
    parts = dict(re.findall(r'<section><h2 id="(\w+)">(.*?)</section>', page.source, re.DOTALL))
    assert "In this run CIFAR-10 plays STL-10." in parts["table1"] and "plays" not in parts["fig4"]


def test_a_phone_sees_each_question_with_its_answer(build):
    style = build().source.partition("@media screen and (max-width: 40rem) {")[2].partition("@media print")[0]
    assert ".asked tr { display: block;" in style and ".asked td:first-child { display: block; }" in style
    assert 'for (const part of document.querySelectorAll(".words")) part.open = false;' in build().source


def test_the_tiles_say_how_many_questions_of_ours_they_count(build, claims):
    ours = claims["source"].str.startswith("ours")
    inside = ours & (claims["source"].map(lambda source: section_of(source).name) != "Ours")
    assert 0 < inside.sum() < ours.sum()
    assert f"{inside.sum()} of our own questions stand in the paper's tiles." in build().source


def test_claims_are_grouped_by_the_questions(build, claims):
    page = build()
    text = page.source[page.source.index('id="all"') :]
    places = [text.index(f'<tr class="group"><th colspan="5">{question["question"]}') for question in read_questions()]
    assert places == sorted(places)
    told = page.source[page.source.index('id="questions"') : page.source.index('id="fig4"')]
    for line in answer_questions(claims, read_questions()).itertuples():
        [row] = re.findall(rf"<tr><td>{re.escape(line.question)}</td>(.*?)</tr>", told, re.DOTALL)
        assert " ".join(re.sub("<[^>]*>", " ", row).split()).startswith(f"{line.answer} ✓ {line.held}" if line.held else
                                                                        line.answer)  # fmt: skip


def test_each_count_lists_the_claims_of_its_verdict(build, claims):
    page = build()
    told = re.findall(r"<b>(\d+)</b>([^<]+)</label>", page.source)
    names = (REPRODUCED, NOT_REPRODUCED, NOT_TESTED)
    assert told == [
        (str(len(claims)), "all claims"),
        *((str((claims["verdict"] == name).sum()), VERDICTS[name]) for name in names),
    ]
    for kind in ("good", "bad", "idle"):
        assert f"body:has(#only-{kind}:checked) #all tbody tr:not(.is-{kind}" in page.source
        assert page.all("input", id=f"only-{kind}", type="radio")
    assert page.all("input", id="search", type="search")


def test_every_link_inside_has_its_place_and_no_place_is_there_twice(build):
    line = ["few", "cause", ["fig5-anomaly-dcmp"], "Few.", "A", "before", *NOTHING, "not measured"]
    page = build(findings=pd.DataFrame([line], columns=FINDING).astype({"n": "Int64"}))
    assert {link[1:] for link in page.links() if link.startswith("#")} <= set(page.ids())
    assert len(page.ids()) == len(set(page.ids()))


def test_a_figure_is_the_file_itself_and_opens_at_full_size(build, tmp_path):
    page = build()
    assert len(page.all("img")) == 3
    for image in page.all("img"):
        name = re.fullmatch(r"What (\w+) shows\.", image["alt"])[1]
        data = base64.b64decode(image["src"].partition("base64,")[2])
        assert data == (tmp_path / f"{name}.png").read_bytes()
        assert page.all("figure", id=name) and page.all("a", href=f"#{name}")
        assert page.all("a", href=f"#{name}-place", **{"class": "close"})
    assert "figure:target img" in page.source


def test_on_paper_nothing_is_folded_and_nothing_is_there_to_click(build):
    page = build()
    paper = page.source.partition("@media print {")[2].partition("</style>")[0]
    assert ".filter, .top, figure .close { display: none !important; }" in paper
    assert "#all tbody tr { display: table-row !important; }" in paper, "what a filter box hid is there, too"
    assert "details::details-content { content-visibility: visible" in paper
    assert re.search(r"\nfigure, tr,[^{]*\{ break-inside: avoid; \}", re.sub(r"\n +", "\n", paper))
    assert "beforeprint" in page.source and "afterprint" in page.source, "for browsers whose style cannot unfold"
    assert all(page.all("a", href=link) for link in page.links()) and "attr(href)" in paper, "links out are spelled out"


def test_without_executed_notebooks_there_is_no_link_out_of_the_page(build):
    assert [link for link in build().links() if link[0] != "#"] == [
        "../../results/demo/05_pruning/cifar10-s0/executed.html"]  # fmt: skip
    page = build(notebooks=[])
    assert all(link.startswith("#") for link in page.links()) and "Executed notebooks" not in page.source


@pytest.mark.parametrize(
    "parts",
    [
        {"profile": EVIL},
        {"note": EVIL},
        {"lead": EVIL},
        {"tables": [(EVIL, EVIL, pd.DataFrame({EVIL: [EVIL]}))]},
        {"notebooks": [(EVIL, EVIL)]},
        {"answers": [Answer(EVIL, EVIL, EVIL, False)]},
        {"runs": pd.DataFrame({"notebook": [EVIL]})},
        {"versions": {EVIL: EVIL}},
        {"opening": Opening(EVIL, [(EVIL, EVIL, EVIL)], [(EVIL, EVIL)], {"STL-10": EVIL})},
    ],
    ids=["profile", "note", "lead", "tables", "notebooks", "answers", "runs", "versions", "opening"],
)
def test_text_is_shown_not_run(build, parts):
    page = build(**parts)
    assert len(page.all("script")) == 1
    assert any(EVIL in text for _, text in page.texts), "and nothing is lost"


def test_text_of_claims_and_captions_is_shown_not_run(build, claims, tmp_path):
    claims.loc[0, ["source", "quantity"]] = EVIL
    picture = tmp_path / "other.png"
    picture.write_bytes(b"")
    page = build(claims=claims.astype({"paper": object}), figures=[(picture, EVIL)])
    assert len(page.all("script")) == 1
    assert page.all("img")[0]["alt"] == EVIL
    assert sum(EVIL in text for _, text in page.texts) >= 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [(99.123456, "99.1235"), (99.9991, "99.9991"), (100.0, "100"), (98.7654, "98.77"), (-0.5, "-0.5"),
     (0.00001234567, "1.235e-05"), (1200, "1200"), (float("nan"), ""), (None, ""), (pd.NA, "")],
)  # fmt: skip
def test_numbers_without_an_interval_have_four_digits(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((15.5, 10.78094, 21.273764), ("16", "11 to 21")),
        ((99.933077, 99.901352, 99.958848), ("99.93", "99.90 to 99.96")),
        ((0.0, 0.0, 3.621669), ("0", "0 to 3.6")),
        ((99.5, 97.24581, 99.987342), ("99.50", "97.25 to 99.99")),
        ((-0.342712, -0.961225, -0.030472), ("−0.34", "−0.96 to −0.03")),
        ((-78.5, -91.5, -64.0), ("−78", "−92 to −64")),
        ((100.0, 100.0, 100.0), ("100", "")),
        ((-2.5, float("nan"), float("nan")), ("−2.5", "")),
        ((float("nan"),) * 3, ("", "")),
    ],
)
def test_numbers_have_the_digits_that_their_interval_supports(numbers, shown):
    assert with_digits(*numbers) == shown


def test_no_bound_reads_as_a_round_number_that_it_is_not(reference):
    for claim in reference.summary.dropna(subset=["low"]).itertuples():
        _, interval = with_digits(claim.measured, claim.low, claim.high)
        for text, bound in zip(interval.split(" to ") if interval else [], (claim.low, claim.high), strict=False):
            assert float(text.replace("−", "-")) not in (0, 100) or abs(bound - round(bound)) < 1e-6


def test_the_same_results_give_the_same_page(build):
    assert build().source == build().source


def test_a_reason_stands_with_its_tests_in_the_first_section_of_its_claims_and_others_lead_there(build):
    few = ["few", "cause", ["fig8-no-anomaly-id", "fig5-anomaly-dcmp"], "Few & small."]
    lines = [
        [*few, "A is above 1", "before", 2.5, 2, 3, 7, "confirmed"],
        [*few, "B is 1", "before", 2.5, 2, 3, 7, "refuted"],
        [*few, "C is 1", "before", *NOTHING, "not measured"],
        [*few, "D is 1", "after", 2.5, 2, 3, 7, "fits"],
        ["no reason found", "unknown", ["s41-density"], "", "", "", *NOTHING, ""],
    ]
    page = build(findings=pd.DataFrame(lines, columns=FINDING).astype({"n": "Int64"}))
    parts = dict(re.findall(r'<section><h2 id="(\w+)">(.*?)</section>', page.source, re.DOTALL))
    assert page.source.count("Few &amp; small.") == 1 and "<b>Cause.</b> Few &amp; small." in parts["fig5"]
    assert 'explained under\n<a href="#fig5">Fig. 5</a>.' in parts["fig8"]
    assert "No reason found." in parts["fig10"] and page.source.count("No reason found.") == 1
    items = [" ".join(re.sub("<[^>]*>", "", item).split()) for item in
             re.findall(r"<li>(.*?)</li>", parts["fig5"], re.DOTALL)]  # fmt: skip
    assert items == [
        "A is above 1: 2.5 [2.0 to 3.0], n = 7 confirmed", "B is 1: 2.5 [2.0 to 3.0], n = 7 refuted",
        "C is 1: not measured", "D is 1: 2.5 [2.0 to 3.0], n = 7 fits, written after",
    ]  # fmt: skip
    kinds = re.findall(
        r'<span class="verdict (\w+)">(?:confirmed|refuted|not measured|fits[^<]*)</span>', parts["fig5"]
    )
    assert kinds == ["good", "bad", "idle", "idle"], "what was written after its rows is grey"
    assert "settings cut: 2" in parts["fig5"] and "width 16 of 64; 0" in parts["fig5"], "those of its claims"


def test_a_reference_s_page_has_no_dead_link_and_says_held_missed_and_undecided_in_one_sentence(reference, tmp_path):
    questions = answer_questions(reference.summary, read_questions())
    verified = verifications(reference.rows, TAU)
    answers = five_answers(verified, reference.measures["07_imitation"], reference.summary, questions, TAU)
    lead = headline(reference.profile, reference.summary)
    assert lead.startswith(totals(zip(reference.summary["source"], reference.summary["verdict"], strict=True)))
    report = Report(reference.profile, "n", lead, reference.summary, reference.findings, answers, questions)
    report.runs, report.versions = provenance(reference.profile, tmp_path)
    build_report(tmp_path / "report.html", report)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {link for link in page.links() if link[0] != "#"} == set()
    assert {link[1:] for link in page.links()} <= set(page.ids())
    assert len(page.source) < 800_000, "figures come to it"
    for answer in answers:
        assert f"<b>{answer.answer}</b> {markupsafe.escape(answer.text)}" in page.source


def test_the_paper_s_numbers_stand_beside_ours(build):
    page = build()
    parts = dict(re.findall(r'<section><h2 id="(\w+)">(.*?)</section>', page.source, re.DOTALL))
    table = " ".join(re.sub("<[^>]*>", " ", parts["table1"].partition("Verdicts")[0]).split())
    for printed in ("23.17", "3.23", "74.22", "21.57"):
        assert printed in table
    played = build(opening=Opening(played={"STL-10": "CIFAR-10"})).source
    assert "<td>backdoor, CIFAR-10 (for STL-10)</td>" in played and "<td>backdoor, GTSRB</td>" in played
    assert "ImageNet backdoor, STL-10 DCmp 23.17" in table and "backdoor, SVHN Trans, G_min 21.57" in table

"""The end of a run: at most 35 lines of 100 columns, whatever came out."""

import re
from dataclasses import replace

import pytest
from drawn import TAU

from sslauth_utils.base.errors import UserError
from sslauth_utils.claims.cut_texts import parted
from sslauth_utils.claims.questions import answer_questions, read_questions
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from sslauth_utils.claims.verifications import verifications
from sslauth_utils.report.answers import answers_table, five_answers
from sslauth_utils.report.last_screen import last_screen
from sslauth_utils.report.sections import ORDER, SECTIONS, paper_of, scoreboard, section_of, totals

FAILED = [
    f"{name} imagenet seed {seed}" for name in ("10_generator_objective", "11_transformation") for seed in range(4)
]


def lay_out(reference, folder, verdict=None):
    """The files that a summary leaves of this run."""
    summary = reference.summary if verdict is None else reference.summary.assign(verdict=verdict)
    questions = answer_questions(summary, read_questions())
    verified = verifications(reference.rows, TAU)
    summary.to_csv(folder / "summary.csv", index=False)
    attacks, generators = reference.measures["07_imitation"], reference.rows["10_generator_objective"]
    answers = five_answers(verified, attacks, summary, questions, TAU, generators)
    answers_table(answers).to_csv(folder / "answers.csv", index=False)
    return summary


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("verdict", [None, REPRODUCED, NOT_REPRODUCED, NOT_TESTED])
def test_a_reference_s_end_fits_35_lines_of_100_columns_even_if_much_failed(reference, tmp_path, verdict, encoding):
    lay_out(reference, tmp_path, verdict)
    report = f"figures/{reference.profile}/report.html"
    screen = last_screen(tmp_path, reference.profile, FAILED, report, "1 h 40 min", encoding=encoding)
    lines = screen.splitlines()
    assert len(lines) <= 35 and max(map(len, lines)) <= 100
    assert lines[-1] == f"Report: {report}"
    assert "Took 1 h 40 min." in screen and f"FAILED: {FAILED[0]}, " in screen and "and 4 more" in screen
    assert sum(line.startswith("- ") for line in lines) == 3
    screen.encode(encoding)


def alone(reference):
    """The same run without a row of the other papers."""
    other = reference.summary["source"].map(paper_of) != "SSL-Auth"
    verdicts, measured = reference.summary["verdict"].mask(other, NOT_TESTED), reference.summary["measured"].mask(other)
    return replace(reference, summary=reference.summary.assign(verdict=verdicts, measured=measured))


def test_a_run_of_all_papers_fits_the_screen_and_counts_each(lite, tmp_path):
    lay_out(lite, tmp_path)
    screen = last_screen(tmp_path, "lite")
    said = " ".join(screen.split())
    assert len(screen.splitlines()) <= 35 and "No rows of" not in said
    assert re.search(r"Sample pairs: of \d+ claims [1-9]\d* held", said)
    assert re.search(r"DeepAuth: of \d+ claims [1-9]\d* held", said)
    undecided = (lite.summary["verdict"] == NOT_TESTED) & ~lite.summary["source"].str.startswith("ours")
    reasons = [int(number) for number in re.findall(r"(\d+) (?:need profile|are of what|lack rows)", said)]
    assert sum(reasons) == undecided.sum(), "each undecided claim has one reason"


def test_the_counts_are_of_the_verdicts(reference, tmp_path):
    summary = lay_out(alone(reference), tmp_path)
    screen = last_screen(tmp_path, reference.profile)
    papers = summary[~summary["source"].str.startswith("ours") & (summary["source"].map(paper_of) == "SSL-Auth")]
    held, missed = ((papers["verdict"] == verdict).sum() for verdict in (REPRODUCED, NOT_REPRODUCED))
    said = " ".join(screen.split())
    assert f"SSL-Auth: of {len(papers)} claims {held} held, {missed} did not, " in said
    assert "No rows of Sample pairs and DeepAuth." in said
    summary = summary[summary["source"].map(paper_of) == "SSL-Auth"]
    board = scoreboard(zip(summary["source"], summary["verdict"], strict=True))
    assert sum(sum(counts) for _, counts in board) == len(summary)
    for section, counts in board:
        ours = summary[[section_of(source) is section for source in summary["source"]]]
        assert counts == tuple(
            (ours["verdict"] == verdict).sum() for verdict in (REPRODUCED, NOT_REPRODUCED, NOT_TESTED)
        )
        numbers = " ".join(f"{sign} {count}" for sign, count in zip("✓✗·", counts, strict=True) if count)
        assert f"{section.name} {section.subject} {numbers}" in said


def test_every_table_and_figure_of_the_paper_has_its_line():
    names = [section.name for section in SECTIONS]
    assert {f"Table {number}" for number in range(1, 9)} <= set(names)
    for number in range(4, 13):
        assert section_of(f"Fig. {number}, §5").name in (f"Fig. {number}", "Figs. 8, 9")
    assert sorted(ORDER) == sorted(section.key for section in SECTIONS) and len(set(ORDER)) == len(ORDER)
    assert section_of("ours; §5.2 (tested at one tolerance)").key == "one"
    assert section_of("Tables 3 and 6").key == "table3" and section_of("§5.3, Table 7").key == "table7"
    assert section_of("ours; §5.1 (1000 epochs)").key == "training" and section_of("ours; §5.1").key == "honest"
    assert section_of("§5.2, Fig. 8").key == "fig8" and section_of("§6, A.1").key == "table5"


def test_every_paper_has_its_sentence_and_ours_are_counted_apart():
    claims = [
        ("Fig. 4", REPRODUCED),
        ("Table 2", NOT_TESTED),
        ("DeepAuth, Table 2", NOT_REPRODUCED),
        ("ours; §4", REPRODUCED),
    ]
    assert totals([*claims, ("ours; DeepAuth, Table 2", NOT_TESTED)]) == (
        "SSL-Auth: of 2 claims 1 held, 0 did not, 1 cannot be decided here. "
        "DeepAuth: of 1 claims 0 held, 1 did not, 0 cannot be decided here. 2 more questions are ours."
    )
    undecided = [("Fig. 4", REPRODUCED), ("DeepAuth, Table 2", NOT_TESTED), ("Sample pairs, Table II", NOT_TESTED)]
    assert totals(undecided) == (
        "SSL-Auth: of 1 claims 1 held, 0 did not, 0 cannot be decided here. "
        "Sample pairs and DeepAuth: nothing decided in this profile."
    )
    assert section_of("DeepAuth, Table 2").key == "deepauth" and section_of("Table 2").key == "table2"
    assert section_of("ours; Sample pairs, §IV-A (no null)").key == "pairs-ours"


def test_every_claim_that_is_undecided_has_one_reason_and_cuts_are_counted(reference, tmp_path):
    summary = lay_out(alone(reference), tmp_path)
    said = " ".join(last_screen(tmp_path, reference.profile).split())
    ours = summary["source"].str.startswith("ours")
    mine = summary[(summary["verdict"] == NOT_TESTED) & ~ours & (summary["source"].map(paper_of) == "SSL-Auth")]
    left_out = mine["cuts"].str.startswith("without ") & mine["measured"].isna()
    reasons = [int(number) for number in re.findall(r"(\d+) (?:need profile|are of what|lack rows)", said)]
    assert sum(reasons) == len(mine) and (left_out.sum() in reasons) == (reference.profile == "gpu")
    measured = summary[summary["measured"].notna() & (summary["source"].map(paper_of) == "SSL-Auth")]
    cuts = {cut for text in measured["cuts"] for cut in parted(text)}
    assert len(cuts) > 5 and f"Stated settings cut: SSL-Auth {len(cuts)}; the report names them" in said


def test_what_surprises_comes_first(lite, tmp_path):
    lay_out(lite, tmp_path)
    answers = (tmp_path / "answers.csv").read_text()
    (tmp_path / "answers.csv").write_text(answers.replace(",True", ",False").replace(
        "What did not come out?,Much:", "What did not come out?,Anything:").replace(",False", ",True", 1))  # fmt: skip
    told = [line for line in last_screen(tmp_path, "lite").splitlines() if line.startswith("- ")]
    assert told[0].startswith("- Is gross tampering detected?") and told[1].startswith("- Is Trans needed?")


def test_where_the_lines_are_too_few_the_longest_answer_loses_its_last_sentence(lite, tmp_path, monkeypatch):
    def answers(screen):
        told = screen.partition("\n- ")[2].partition("\n\n")[0]
        return [" ".join(answer.split()) for answer in told.split("\n- ")]

    lay_out(alone(lite), tmp_path)
    whole = last_screen(tmp_path, "lite")
    monkeypatch.setattr("sslauth_utils.report.last_screen.LINES", len(whole.splitlines()) - 1)
    fewer = last_screen(tmp_path, "lite")
    assert len(fewer.splitlines()) < len(whole.splitlines())
    before, after = answers(whole), answers(fewer)
    assert len(before) == len(after) == 3 and after[before.index(longest := max(before, key=len))] != longest
    assert all(one.startswith(other) and other.endswith(".") for one, other in zip(before, after, strict=True))
    monkeypatch.setattr("sslauth_utils.report.last_screen.LINES", 1)
    assert sum(line.startswith("- ") for line in last_screen(tmp_path, "lite").splitlines()) == 3


def test_without_answers_or_a_column_it_still_says_what_it_can(lite, tmp_path):
    lay_out(lite, tmp_path)
    (tmp_path / "answers.csv").unlink()
    assert "Fig. 4 " in last_screen(tmp_path, "lite") and "\n- " not in last_screen(tmp_path, "lite")
    (tmp_path / "summary.csv").write_text("source,verdict,cuts\n")
    with pytest.raises(UserError, match="lacks the column 'measured'"):
        last_screen(tmp_path, "lite")


def test_a_narrow_terminal_gets_one_column(lite, tmp_path):
    lay_out(lite, tmp_path)
    lines = last_screen(tmp_path, "lite", width=60).splitlines()
    assert max(map(len, lines)) <= 60 and sum(line.startswith(("Fig", "Table")) for line in lines) >= 16

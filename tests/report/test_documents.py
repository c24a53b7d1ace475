"""README.md and docs/results.md: their numbers are those of the committed rows, and none was typed in."""

import re

import pandas as pd
import pytest

from sslauth_utils.base.errors import UserError
from sslauth_utils.base.paths import RESULTS, ROOT
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED
from sslauth_utils.report import documents, told
from sslauth_utils.report.documents import DOCUMENTS, SOURCE
from sslauth_utils.report.reference_run import Number, ReferenceRun
from sslauth_utils.report.sections import paper_of


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    documents.lay_out(folder)
    return folder


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_tells_is_what_the_committed_rows_say(name, home):
    assert text(name) == documents.written(name, home), "written by python -m sslauth_utils.report.documents"


# --- no number is typed in --------------------------------------------------------------------------------------------

NO_TEXT = r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|```.*?```|`[^`]*`|\]\([^)]*\)"
NAMES = (
    r"SHA-256|ResNet-\d+|LeNet-5|CIFAR-10|STL-10|H200|AVX-512|BF16|16-bit|arXiv:[\d.]+|Python ≥ 3\.11"
    r"|stage [12]|(?:Tables?|Figs?\.) \d+(?:(?: and |, |–)\d+)*|§\d(?:\.\d)?|A\.\d|1 − cos"
)
#: what a sentence is about: settings of the paper, a profile or a test; seeds and notebooks by number
SUBJECTS = (
    r"τ = 99\.5 %|the paper's 99\.5 %|95 % interval|λ = 10\b|by 10 %|up to 10 %|from 30 to 40 %|MLP to 8192"
    r"|1000(?: epochs)? (?:are 1000 )?(?:steps|make)|with 1000\b|\| 1000 \||above 95 %"
    r"|[Ss]eeds? [01](?:(?: and |, )1)?\b|\(01 to 06 and 08\)"
)
#: measured by hand or arithmetic; docs/speed.md says when and where
TIMES = r"6 min 36 s|13 min 8 s|2½ h|5 h|AVX-512|5 min|5\.5 GB"


def typed(source):
    """Numbers in the text of a document's source that are neither computed nor one of the kinds above."""
    left = re.sub(NO_TEXT, "", source, flags=re.DOTALL)
    return re.findall(r".{0,20}\d.{0,20}", re.sub(f"{NAMES}|{SUBJECTS}|{TIMES}", "", left))


@pytest.mark.parametrize("name", DOCUMENTS.values())
def test_no_number_was_typed_in(name):
    assert typed((SOURCE / name).read_text(encoding="utf-8")) == []


def test_a_typed_number_is_found():
    assert typed("In Table 3, with λ = 10, {{ passed | span }} % pass.\n```\n12\n```\n") == []
    assert typed("In Table 3, with λ = 10, 8 % of 2,000 pass.") == ["In , with , 8 % of 2,000 pass."]


def test_the_readme_s_times_are_told_in_speed_md():
    speed = text("docs/speed.md")
    assert [time for time in re.findall(TIMES, text("README.md")) if time not in speed] == []


@pytest.mark.parametrize(
    ("file", "line", "column", "shown"),
    [
        ("augmentation", {"pipeline": "ours"}, "median", "33,700"),
        ("augmentation", {"pipeline": "lightly, 2 workers"}, "ours / this", "9.4 ×"),
        ("pretraining", {"measure": "end to end", "loop": "ours"}, "median", "| 677 |"),
        ("pretraining", {"measure": "end to end", "loop": "lightly float32"}, "ours / this", "3.3 ×"),
        ("pretraining", {"measure": "end to end", "loop": "lightly bfloat16"}, "ours / this", "2.1 ×"),
        ("pretraining", {"measure": "step", "loop": "lightly bfloat16"}, "ours / this", "1.4 ×"),
        ("attack", {"way": "ours, as used"}, "median", "| 6.9 |"),
        ("attack", {"way": "public, float32, with loader"}, "ours / this", "4.2 ×"),
        ("attack", {"way": "public step, bfloat16"}, "ours / this", "2.1 ×"),
        ("generator", {"depth": 32, "loop": "ours, as used"}, "median", "| 14.6 |"),
        ("generator", {"depth": 32, "loop": "plain, bfloat16"}, "ours / this", "1.5 ×"),
        ("generator", {"depth": 64, "loop": "ours, as used"}, "median", "| 5.3 |"),
        ("generator", {"depth": 64, "loop": "plain, bfloat16"}, "ours / this", "1.3 ×"),
        ("classifier", {"way": "ours"}, "median", "0.71 s"),
        ("classifier", {"way": "loader"}, "this / ours", "1.5 ×"),
        ("verification", {"part": "whole verification, DCmp"}, "median ms", "55 ms"),
        ("verification", {"part": "whole verification, DCmp and Trans"}, "/ bare forward", "1.9 ×"),
        ("verification", {"part": "SHA-256 of the weights file"}, "median ms", "2.5 ms"),
    ],
)
def test_the_parts_speeds_are_the_committed_benchmarks(file, line, column, shown):
    table = pd.read_csv(RESULTS / "reference" / "benchmarks" / f"{file}.csv")
    for name, value in line.items():
        table = table[table[name] == value]
    [measured] = table[column]
    number = re.search(r"[\d.,]+", shown)[0].replace(",", "")
    decimals = len(number.partition(".")[2])
    last = 10.0**-decimals if decimals else 10.0 ** (len(number) - len(number.rstrip("0")))
    assert abs(measured - float(number)) <= last / 2 and shown in text("docs/speed.md")


def test_the_readme_is_short():
    readme = text("README.md")
    assert len(readme.splitlines()) <= 120 and len(readme.split()) <= 1000


# --- how a text shows a number ----------------------------------------------------------------------------------------


def test_numbers_are_shown_with_the_digits_that_were_asked_for():
    assert [documents.fixed(value, 1) for value in (0, 100, 0.25, -1.2499999999999998, -0.04)] == [
        "0", "100", "0.3", "−1.3", "0.0"
    ]  # fmt: skip
    assert [documents.short(value) for value in (21.0, 12.5, 100)] == ["21", "12.5", "100"]
    number = Number(-4.32, -5.63, -3.06, 200)
    assert documents.whole(number, 1) == "−4.3 [−5.6, −3.1]"
    assert documents.whole(number.turned, 1, "points") == "4.3 points [3.1, 5.6]"
    assert documents.span([Number(99.93), 99.95], 2) == "99.93–99.95" and documents.span([1.01, 1.02], 1) == "1.0"
    assert documents.listed([1, 2, 3]) == "1, 2 and 3" and documents.listed([7]) == "7"
    assert documents.printed(Number(1, paper="above 95")) == "above 95"
    assert documents.printed([Number(1, paper="22.5"), Number(1, paper="74")]) == "23–74"
    assert documents.largest([Number(1), Number(3), Number(2)]).measured == 3
    assert [documents.word(count) for count in (0, 12, 13)] == ["no", "twelve", "13"]


def test_verdicts_are_counted_where_they_differ():
    held, missed = Number(1, verdict=REPRODUCED), Number(1, verdict=NOT_REPRODUCED)
    assert documents.verdict(held) == "held" and documents.verdict([missed, missed]) == "**did not hold**"
    assert documents.verdict([held, missed, missed]) == "**did not hold** in two of three"
    with pytest.raises(UserError, match="that the run does not give"):
        documents.verdict([held, Number(1, verdict=NOT_TESTED)])


def test_of_the_other_papers_the_readme_tells_what_is_decided(home):
    run = ReferenceRun("lite", home)
    claims = ~run.summary["source"].str.startswith("ours") & run.summary["source"].str.startswith("DeepAuth")
    names = run.summary.index[claims]
    verdicts = run.summary["verdict"].mask(run.summary["source"].map(paper_of) != "SSL-Auth", NOT_TESTED)
    run.summary = run.summary.assign(verdict=verdicts)
    assert told.others(run) == []
    verdicts[names[:2]], verdicts[names[2]] = REPRODUCED, NOT_REPRODUCED
    run.summary = run.summary.assign(verdict=verdicts)
    [found] = told.others(run)
    assert vars(found) == {"paper": "DeepAuth", "decided": 3, "of": len(names), "held": 2, "missed": 1}


def test_words_that_the_rows_do_not_bear_out_stop_the_writing():
    assert documents.if_so(True, "all six") == "all six"
    with pytest.raises(UserError, match="no longer say “all six”"):
        documents.if_so(False, "all six")


def test_a_claim_that_was_not_measured_gives_no_number(home):
    gpu = ReferenceRun("gpu", home)
    with pytest.raises(UserError, match="fits no claim of gpu, or one that was not measured"):
        gpu.claims("table1-*-dcmp-success")
    with pytest.raises(UserError, match=r"table99-\* fits no claim"):
        gpu.claims("table1-cifar10-stl10-attack", "table99-*")
    assert [number.n for number in gpu.claims("table1-cifar10-*-attack")] == [1800, 1954, 220]


def test_rates_and_kinds_among_tampers():
    tampers = pd.DataFrame({"kind": ["pruning", "disguise", "pruning"], "strength": ["0.05", "10", "0.2"]})
    assert told.kinds(tampers) == ["disguise", "pruning"] and told.rates(tampers) == [5, 20]


def test_the_command_writes_the_documents(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "lay_out", lambda home: None)
    monkeypatch.setattr(documents, "written", lambda name, home: f"text of {name}\n")
    assert documents.main() == 0
    assert (tmp_path / "docs" / "results.md").read_text() == "text of docs/results.md\n"
    assert capsys.readouterr().out == "Written: README.md\nWritten: docs/results.md\n"
    monkeypatch.setattr(documents, "written", lambda name, home: documents.if_so(False, name))
    assert documents.main() == 1 and "README.md" in capsys.readouterr().err

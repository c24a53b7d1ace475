"""The committed rows, judged again, give the committed verdicts and reasons."""

import pandas as pd
import pytest

from sslauth_utils.base.paths import RESULTS, ROOT
from sslauth_utils.claims import findings, judge, rules

TAU = 0.995


@pytest.mark.parametrize("profile", ["lite", "gpu"])
def test_the_reference_s_rows_give_its_summary_and_its_findings(results, profile):
    summary = judge.evaluate(profile, TAU, results)
    reasons = findings.evaluate(profile, TAU, summary, results)
    reasons = reasons.assign(claims=reasons["claims"].map(" ".join))  # as 90_summary writes them
    for name, key, ours in (("summary.csv", "id", summary), ("findings.csv", "test", reasons)):
        committed = pd.read_csv(RESULTS / "reference" / profile / name, dtype={"n": "Int64"}, keep_default_na=False,
                                na_values={column: "" for column in ("measured", "low", "high", "n")})  # fmt: skip
        ours = ours.astype({"paper": str}) if "paper" in ours else ours  # numbers among words: a column of text
        committed = committed.astype({"paper": str}) if "paper" in committed else committed
        assert ours[key].tolist() == committed[key].tolist(), name
        pd.testing.assert_frame_equal(ours, committed, rtol=0, atol=1e-9, check_dtype=False)


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_the_counts_in_the_documents_are_the_reference_s(name):
    summary = pd.read_csv(RESULTS / "reference" / "lite" / "summary.csv")
    papers = summary[~summary["source"].str.startswith("ours") & ~summary["id"].str.match("pairs-|deepauth-")]
    held, missed = ((papers["verdict"] == verdict).sum() for verdict in (rules.REPRODUCED, rules.NOT_REPRODUCED))
    text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    told = f"Of the paper's {len(papers)} claims it can decide {held + missed}: **{held} held, {missed} did not**"
    assert told in text


@pytest.mark.parametrize(
    ("claim", "shown"),
    [
        ("table5-imagenet-gmin-gmax", "{measured:.2f} [{low:.2f}, {high:.2f}]"),
        ("table5-cifar10-gmin-gmax", "{measured:.2f} points [{low:.2f}, {high:.2f}]"),
    ],
)
def test_numbers_in_the_readme_s_table_are_the_reference_s(claim, shown):
    summary = pd.read_csv(RESULTS / "reference" / "lite" / "summary.csv").set_index("id")
    told = shown.format(**summary.loc[claim, ["measured", "low", "high"]]).replace("-", "−")
    assert told in (ROOT / "README.md").read_text(encoding="utf-8")

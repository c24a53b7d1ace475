"""The committed rows, judged again, give the committed verdicts and reasons."""

import pandas as pd
import pytest

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims import findings, judge

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

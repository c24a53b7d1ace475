"""The report: the verdict of every scheme, as rows and as a table."""

import pytest
import torch

from sslauth_utils.attacks.prune import prune
from sslauth_utils.schemes.report import Report, SchemeResult
from sslauth_utils.schemes.verification import respond, verify


def test_verdict_needs_every_key_strictly_above_tau():
    tau = 0.5
    assert SchemeResult("DCmp", torch.tensor([0.6, 0.51]), tau).passed
    on_the_line = SchemeResult("DCmp", torch.tensor([0.6, 0.5]), tau)
    assert not on_the_line.passed and on_the_line.auth_success == 50
    assert on_the_line.agreement == pytest.approx(55, abs=1e-5)


def test_report_passes_only_if_every_scheme_does():
    good, bad = SchemeResult("DCmp", torch.ones(2), 0.9), SchemeResult("Trans", torch.zeros(2), 0.9)
    assert Report([good]).passed and not Report([good, bad]).passed


def test_rows_and_table_say_the_same(encoder, record):
    report = verify(record, respond(prune(encoder, 0.3), record.challenge()), suspect_sha256="0" * 64)
    rows = report.rows()
    assert len(rows) == 3 * 8 + 1 and rows[-1] == {"scheme": "SHA-256", "key": -1, "similarity": 0.0}
    mean = sum(row["similarity"] for row in rows if row["scheme"] == "Trans") / 8
    assert report.table().loc["Trans", "agreement %"] == f"{100 * mean:.3f}"
    assert "FAIL" in str(report)


def test_a_scheme_that_is_not_there_is_named_beside_those_that_are():
    report = Report([SchemeResult("DCmp", torch.ones(2), 0.9)], True)
    with pytest.raises(KeyError, match="'SHA-256' is none of this report's schemes: DCmp"):
        report["SHA-256"]
    assert report == report and report != Report(report.results, True) and len({report}) == 1

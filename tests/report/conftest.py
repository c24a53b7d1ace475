"""What the tests of figures share: a clean desk, and rows of some notebooks."""

from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
import pytest
from drawn import KAPPA, RATES, SCENARIOS, sweep
from matplotlib import pyplot as plt

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.study.rows import read_rows

#: profiles with a committed run
REFERENCES = sorted(path.parent.name for path in (RESULTS / "reference").glob("*/summary.csv"))


@dataclass(frozen=True)
class Reference:
    """A committed run: its verdicts and reasons, its rows and measures by notebook."""

    profile: str
    summary: pd.DataFrame
    findings: pd.DataFrame
    rows: dict[str, pd.DataFrame]
    measures: dict[str, pd.DataFrame]


def read_reference(profile):
    folder = RESULTS / "reference" / profile
    tables = {path.name.removesuffix(".csv.gz"): read_rows(path)
              for path in sorted(folder.glob("*.csv.gz"))}  # fmt: skip
    findings = pd.read_csv(folder / "findings.csv").fillna({"reason": "", "test": "", "written": "", "answer": ""})
    return Reference(
        profile,
        pd.read_csv(folder / "summary.csv").fillna({"cuts": ""}).astype({"n": "Int64"}),
        findings.assign(claims=findings["claims"].str.split()).astype({"n": "Int64"}),
        {name: table for name, table in tables.items() if not name.endswith(".measures")},
        {name.removesuffix(".measures"): table for name, table in tables.items() if name.endswith(".measures")},
    )


@pytest.fixture(scope="session", params=REFERENCES)
def reference(request):
    """Every committed run in turn. Shared: change nothing in it."""
    return read_reference(request.param)


@pytest.fixture(scope="session")
def lite():
    """The committed run of lite. Shared: change nothing in it."""
    return read_reference("lite")


@pytest.fixture(autouse=True)
def a_clean_desk():
    """Every figure closed after each test, and the style put back."""
    plt.switch_backend("agg")
    with mpl.rc_context():
        yield
        plt.close("all")


@pytest.fixture
def pruned():
    """Rows of 05_pruning, the ablation and the hash's rows among them."""
    rows = sweep("pruning", RATES, lambda scheme, rate: KAPPA[scheme] * rate / 100, KAPPA)
    rows += sweep("pruning with batch norm", (0.1, 0.5), lambda scheme, rate: KAPPA[scheme] * rate / 80, KAPPA)
    rows += [row | {"key": -1, "similarity": 0.0}
             for row in sweep("pruning", RATES, lambda scheme, rate: 0, ["SHA-256"]) if row["key"] == 0]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.fixture
def pretrained():
    """Rows of 01_pretrain_encoders, as read from CSV: two seeds, three epochs."""
    rows = []
    for scenario in SCENARIOS:
        for seed in (0, 1):
            values = [("loss", epoch, 5 - epoch - seed / 10) for epoch in (1, 2, 3)]
            values += [("chance", 3, 0.1), ("random_knn_accuracy", 3, 0.3), ("knn_accuracy", 3, 0.6 + seed / 10),
                       ("linear_accuracy", 3, 0.8)]  # fmt: skip
            rows += [{"scenario": scenario, "seed": seed, "quantity": quantity, "epoch": epoch, "value": value}
                     for quantity, epoch, value in values]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def trained():
    """Rows of 02_enrol_keys."""
    return pd.DataFrame([
        {"scenario": scenario, "seed": seed, "keys": keys, "objective": objective, "step": step,
         "ssim": (sign * step / 10) + seed / 100}
        for scenario in SCENARIOS for seed in (0, 1) for keys in ("ood", "id")
        for objective, sign in (("max", 1), ("min", -1)) for step in (0, 1, 2)
    ])  # fmt: skip

"""What the tests of figures share: a clean desk, and rows of some notebooks."""

import matplotlib as mpl
import pandas as pd
import pytest
from drawn import KAPPA, RATES, SCENARIOS, sweep
from matplotlib import pyplot as plt


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

"""Sentences on classifiers say what the rows say, whichever way they come out."""

import pandas as pd
import pytest
from crossing_world import SEES, crossed

from sslauth_utils.report import sentences_classifiers as told


def of(method, kind, tamper, changed, strength=""):
    """Ten samples, of which `changed` change their label."""
    about = {"scenario": "m", "seed": 0, "kind": kind, "tamper": tamper, "strength": strength, "method": method}
    return [about | {"key": key, "before": int(key < changed), "after": ""} for key in range(10)]


def null(fine=4):
    return pd.DataFrame(
        of("pairs 0.001", "run", "oneDNN off", 0)
        + of("pairs 1e-06", "run", "oneDNN off", fine)
        + of("pairs 0.001", "cast", "weights stored as", 3, "bfloat16")
    )


def test_the_finest_quiet_step_says_what_is_not_counted():
    text = told.false_alarm_step(null(), [0.001, 1e-6])
    assert "only run otherwise: 0.001." in text
    assert "with weights stored as bfloat16, 30 % of these pairs change" in text
    assert "otherwise: 1e-06" in told.false_alarm_step(null(fine=0), [0.001, 1e-6])
    assert told.false_alarm_step(null(), [1e-6]).startswith("Every step has false alarms")


def test_the_loudest_is_named():
    assert told.loudest(null()) == (
        "Run otherwise, 1 of 2 methods change no label. Most false alarms: pairs 1e-06, 40 % with oneDNN off."
    )
    assert told.loudest(null(fine=0)) == "Run otherwise, no method changes a label."


@pytest.mark.parametrize(("noise", "text"), [
    (2e-6, "d moves by up to 2.0e-06, with oneDNN off. The narrowest gap of d is 6.0e-06, of pairs 1e-06: 3 times"),
    (0.0, "d does not move at all. The narrowest gap of d is 6.0e-06, of pairs 1e-06."),
])  # fmt: skip
def test_noise_and_gap_are_compared(noise, text):
    lines = [("oneDNN off", "noise of d", noise), ("weights stored as", "noise of d", 1.0),
             ("pairs 0.001", "gap of d", 1e-3), ("pairs 1e-06", "gap of d", 6e-6)]  # fmt: skip
    measures = pd.DataFrame(lines, columns=["tamper", "quantity", "value"]).assign(strength="")
    assert text in told.noise_and_gap(null(), measures)


def test_who_sees_the_least_comes_from_the_rows():
    noise = told.sees_least(pd.DataFrame(crossed())).splitlines()[0]
    first, other = "pairs, calibrated: from 1e-06 on, the weakest tried", "DCmp on features: from 1e-05 on"
    assert noise == f"weight noise: seen first by {first}. {other}."
    other = crossed(SEES | {"DCmp on features": 1e-7, "SHA-256": 1e-6, "pairs, calibrated": 1.0})
    weakest = "DCmp on features: from 1e-06 on, the weakest tried. SHA-256: from 1e-06 on, the weakest tried."
    assert f"seen first by {weakest}" in told.sees_least(pd.DataFrame(other))
    blind = told.sees_least(pd.DataFrame(crossed({"DCmp on features": 1.0, "SHA-256": 1e-6})))
    assert blind.startswith(
        "weight noise: no check of the answers sees the strongest. SHA-256: from 1e-06 on, the weakest tried."
    )

"""What stands above the answers: computed from the profile, its stated settings and the rows."""

import dataclasses

import pandas as pd
import pytest
from drawn import TAU

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.report import opening
from sslauth_utils.study.profiles import load_profile, profile_of_rows


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """With which the committed rows of lite were made."""
    home = tmp_path_factory.mktemp("results")
    (home / "lite").symlink_to(RESULTS / "reference" / "lite")
    return profile_of_rows("lite", home)


def test_the_sizes_are_the_run_s_beside_the_stated_ones_with_the_encoders_quality(profile, lite):
    lines = {what: (here, paper) for what, here, paper in opening.sizes(profile, lite.rows)}
    settings = profile.notebooks["01_pretrain_encoders"]
    assert lines["Encoders"] == (f"4, resnet18 of width {settings['width']}", "resnet50 of width 64")
    assert lines["SimCLR"] == (
        f"{settings['epochs']} epochs on 20,000 images", "1,000 epochs on 50,000 images and 1.2 million images"
    )  # fmt: skip
    enrolment = profile.notebooks["02_enrol_keys"]
    steps = f"{enrolment['generator_steps']:,} steps"
    assert lines["Generator"] == (f"depth {enrolment['generator_depth']}, {steps}", "depth 512, 1,000 steps")
    rows = lite.rows["01_pretrain_encoders"]
    for scenario, name in (("cifar10", "CIFAR-10, 32 px"), ("imagenet", "Tiny-ImageNet, 32 px")):
        mine = rows[(rows["scenario"] == scenario) & (rows["quantity"] == "knn_accuracy")]["value"]
        assert f"{name}: {100 * mine.iloc[0]:.0f} and {100 * mine.iloc[1]:.0f} % (chance" in lines["kNN accuracy"][0]


def test_classifiers_are_told_once_they_have_rows(profile, lite):
    def told(rows):
        return [here for what, here, _ in opening.sizes(load_profile("lite"), rows) if what == "Classifiers"]

    encoders = {name: rows for name, rows in lite.rows.items() if name[0] != "2"}
    assert told(encoders) == []
    pairs = pd.DataFrame({"scenario": ["mnist_lenet5"] * 4, "seed": [0, 1, 2, 2]})
    others = pd.DataFrame({"scenario": ["cifar10_resnet20"], "seed": [0]})
    assert told(encoders | {"21_sample_pairing": pairs}) == ["3 lenet5 of MNIST, 5 epochs"]
    both = {"21_sample_pairing": pairs, "24_classifier_schemes": pd.concat([pairs, others])}
    assert told(both) == ["3 lenet5 of MNIST, 5 epochs; 1 resnet20 of CIFAR-10, 30 epochs"]


def test_what_may_turn_the_answer_is_told_only_while_it_has_no_rows(profile, lite):
    def told(rows, profile):
        return [here for what, here, _ in opening.sizes(profile, rows) if what.startswith("May turn")]

    rows = {name: table for name, table in lite.rows.items() if name[:2] not in ("14", "15")}
    short, full = (
        dataclasses.replace(profile, notebooks=profile.notebooks | {"02_enrol_keys": enrolment})
        for enrolment in (profile.notebooks["02_enrol_keys"] | {"generator_steps": steps} for steps in (300, 1000))
    )  # fmt: skip
    assert told(rows, short) == ["more tampers near the tolerance and generators of 1,000 steps: no rows here"]
    near = {"15_near_tolerance": pd.DataFrame()}
    assert told(rows | near, short) == ["generators of 1,000 steps: no rows here"]
    assert told(rows | near | {"14_generator_training": pd.DataFrame()}, short) == []
    assert told(rows, full) == ["more tampers near the tolerance: no rows here"]


@pytest.mark.parametrize("name", ["smoke", "demo", "lite", "gpu", "paper"])
def test_every_profile_has_an_opening_of_few_lines(name, lite):
    runs = pd.DataFrame()
    made = opening.opening(load_profile(name), {}, lite.summary, runs, TAU)
    assert 4 <= len(made.sizes) <= 5 and 7 <= len(made.words) <= 8
    assert "99.5 %" in dict(made.words)["agreement, τ"]
    assert "kNN accuracy" not in dict((what, here) for what, here, _ in made.sizes), "there are no rows"
    assert ("other sets" in dict(made.words)) is (name != "paper")


def test_who_plays_whom_is_the_profile_s():
    assert opening.played_by(load_profile("lite")) == {"ImageNet": "Tiny-ImageNet", "STL-10": "CIFAR-10"}
    assert opening.played_by(load_profile("gpu")) == {"STL-10": "CIFAR-10"}
    assert opening.played_by(load_profile("demo"))["STL-10"] == "embedded shapes"


def test_the_papers_with_rows_are_cited_with_the_date_and_the_commits_if_all_are_known(lite):
    none = pd.DataFrame()
    of_others = lite.summary["source"].str.contains("Sample pairs|DeepAuth|Crossing")
    summary = lite.summary.assign(measured=lite.summary["measured"].mask(of_others))
    assert opening.cited(summary, none).startswith("Li et al., “An Authentication Framework")
    assert opening.cited(summary, none).endswith("arXiv:2308.04673.")
    pairs = summary["measured"].mask(summary["source"].str.startswith("Sample pairs"), 1.0)
    assert "; Gao et al. 2024" in opening.cited(summary.assign(measured=pairs), none)
    runs = pd.DataFrame({"finished": ["2026-01-01 10:00", "2026-02-03 11:00"] * 2, "commit": ["a1", "b2", "b2", "a1"]})
    assert opening.cited(summary, runs).endswith("; rows of 2026-02-03; commit a1, b2.")
    runs.loc[0, "finished"] = None
    assert "rows of" not in opening.cited(summary, runs), "not if some rows are of another time"
    many = pd.DataFrame({"commit": ["a", "b", "c", "d"]})
    assert opening.cited(summary, many).endswith("; 4 commits (at the end).")

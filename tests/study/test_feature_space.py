"""Components and densities of features: axes of the clean ones, and known images likelier than others."""

import numpy as np
import pandas as pd
import pytest
import torch

from sslauth_utils.models.features import normalise
from sslauth_utils.study.feature_space import density_scores, log_components, log_densities
from sslauth_utils.study.rowlog import RowLog
from sslauth_utils.study.rows import MEASURE_COLUMNS


@pytest.fixture
def measures(tmp_path):
    return RowLog(tmp_path, MEASURE_COLUMNS, "code", {}, "measures")


def test_two_axes_hold_what_lies_in_a_plane_and_keys_that_stay_keep_their_place(measures):
    draw = torch.Generator().manual_seed(0)
    plane = torch.nn.functional.pad(torch.rand(12, 3, generator=draw), (0, 2))
    plane[:, 2] = 1 - plane[:, 0] - plane[:, 1]  # two degrees of freedom
    clean = {"id": plane[:6], "ood": plane[6:]}
    assert log_components(measures, clean, clean, 0.3, seed=0) == pytest.approx(1)
    table = pd.read_csv(measures.finish())
    assert sorted(table["quantity"].unique()) == ["pc1 id", "pc1 ood", "pc2 id", "pc2 ood"]
    before, after = (table[table["tamper"] == tamper] for tamper in ("clean", "pruning"))
    assert (
        before[["quantity", "value", "n"]].to_numpy().tolist() == after[["quantity", "value", "n"]].to_numpy().tolist()
    )
    assert set(after["strength"]) == {0.3} and set(before["strength"]) == {0}


class Means(torch.nn.Module):
    """Mean colour of each quarter of an image."""

    def forward(self, images):
        return normalise(torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1))


def test_images_like_the_known_ones_are_likelier(measures, capsys):
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (400, 3, 8, 8), dtype=torch.uint8, generator=draw)
    other = images[:100].clone()
    other[:, 0] = 0  # without red
    found = density_scores(Means(), images, other, seed=0, most=300)
    assert (len(found["id"]), len(found["ood"])) == (150, 100)
    assert found["id"].min() > found["ood"].max()
    log_densities(measures, {"id": np.array([1.0, 3.0]), "ood": np.array([0.0, 0.0])})
    table = pd.read_csv(measures.finish())
    assert table[["quantity", "value", "n"]].to_numpy().tolist() == [
        ["log density id", 2, 2], ["log density error id", pytest.approx(1), 2],
        ["log density ood", 0, 2], ["log density error ood", 0, 2],
    ]  # fmt: skip
    told = capsys.readouterr().out
    assert "id: mean 2.0 ± 1.0" in told and "the likelier of a random pair in 100% of pairs" in told

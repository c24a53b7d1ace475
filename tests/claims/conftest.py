"""What several tests of claims share: the reference runs, laid out as runs."""

import pytest

from sslauth_utils.base.paths import RESULTS
from sslauth_utils.claims.reference import restore


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A results folder with the reference runs of lite and gpu laid out as runs. Shared: change nothing in it."""
    home = tmp_path_factory.mktemp("results")
    (home / "reference").symlink_to(RESULTS / "reference")
    for profile in ("lite", "gpu"):
        restore(profile, home)
    return home

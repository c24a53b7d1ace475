"""Fixtures of the engine's tests: toy projects, not yet run and finished."""

import shutil
import subprocess
from pathlib import Path

import pytest
from toy_project import Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A toy project that has not run yet, in a folder whose name has a blank."""
    return make_project(tmp_path / "toy project")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, subprocess.CompletedProcess]:
    """A toy project that has run, with what the run said. Shared: copy it (`finished`) before changing anything."""
    project = make_project(tmp_path_factory.mktemp("once") / "toy project")
    return project, project.run_all()


@pytest.fixture
def finished(finished_once: tuple[Project, subprocess.CompletedProcess], tmp_path: Path) -> Project:
    """A copy of a toy project that has run completely."""
    shutil.copytree(finished_once[0].root, tmp_path / "toy project", symlinks=True)
    return Project(tmp_path / "toy project")

"""For all tests: the option --all, and a property's patience."""

import hypothesis
import pytest

# A busy machine must not fail a property: how long an example takes is not what is tested.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also the tests that take long")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "all: takes long; skipped without --all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--all"):
        skip = pytest.mark.skip(reason="takes long: --all runs it")
        for item in items:
            if item.get_closest_marker("all"):
                item.add_marker(skip)

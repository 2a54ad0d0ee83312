"""Fixtures of the interop tests: those of tests/lab, and a tailnet of stock programs."""

import importlib.util
import os

import pytest

import interop

_spec = importlib.util.spec_from_file_location("lab_conftest", interop.LAB / "conftest.py")
_lab_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_lab_conftest)
lab = _lab_conftest.lab
side_by_side = _lab_conftest.side_by_side
pytest_runtest_makereport = _lab_conftest.pytest_runtest_makereport


def pytest_collection_modifyitems(items):
    _lab_conftest.in_order(items)
    reason = None
    if os.geteuid() != 0:
        reason = "the interop tests need root: they make network namespaces"
    elif not (interop.BIN / "coordinator").exists():
        reason = f"no coordinator in {interop.BIN}: tests/interop/build.sh makes it"
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def tailnet(lab, request):
    """A Tailnet; @pytest.mark.control(...) has options for its coordinator and its listeners."""
    mark = request.node.get_closest_marker("control")
    one = interop.Tailnet(lab, *(mark.args if mark else ()), **(mark.kwargs if mark else {}))
    yield one
    assert one.control.alive(), "the test control server refused a request and ended"


def pytest_configure(config):
    for name in "alone", "long":
        config.addinivalue_line("markers", f"{name}: as in tests/lab")
    config.addinivalue_line("markers", "control(*options): options of the coordinator")
    config.addinivalue_line("markers", "provided(*options): options of a Provided tailnet")

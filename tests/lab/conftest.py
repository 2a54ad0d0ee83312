"""Fixtures of the lab tests; see lab.py."""

import os
import pathlib
import tempfile

import pytest

import lab as lablib


def pytest_collection_modifyitems(items):
    reason = None
    if os.geteuid() != 0:
        reason = "the lab needs root: it makes network namespaces"
    elif not (lablib.SBINDIR / "warrend").exists():
        reason = f"no installed warrend in {lablib.SBINDIR}: run make install first"
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    setattr(item, f"report_{outcome.get_result().when}", outcome.get_result())


@pytest.fixture
def lab(request):
    """A Lab whose logs are shown when the test failed, and which leaves /etc as it was."""
    resolv = pathlib.Path("/etc/resolv.conf")
    before = resolv.read_bytes() if resolv.exists() else b""
    with tempfile.TemporaryDirectory(prefix="warren-lab-") as directory:
        one = lablib.Lab(directory)
        try:
            yield one
        finally:
            one.close()
            report = getattr(request.node, "report_call", None)
            if report is not None and report.failed:
                for log in sorted(one.dir.glob("**/*.log")):
                    lines = log.read_text(errors="replace").splitlines()
                    print(f"--- {log.relative_to(one.dir)} (last lines)")
                    print("\n".join(lines[-60:]))
    assert (resolv.read_bytes() if resolv.exists() else b"") == before, "resolv.conf was changed"


@pytest.fixture
def pair(lab):
    """Two hosts on a wire: a 192.0.2.1, b 192.0.2.2, and 2001:db8::1, ::2."""
    a, b = lab.host("a"), lab.host("b")
    lab.wire(a, b, "192.0.2.1/24,2001:db8::1/64", "192.0.2.2/24,2001:db8::2/64")
    return a, b

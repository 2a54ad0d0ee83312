"""Fixtures of the lab tests; see lab.py."""

import fcntl
import os
import pathlib
import tempfile

import pytest

import lab as lablib


def in_order(items):
    """Those that run alone last, the longest first: so that nobody waits for them.

    Each of several workers begins with a run of tests that follow each other; the longest are
    spread over those.
    """
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)
    longest = [item for item in items if item.get_closest_marker("long")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    run = max(len(items) // (4 * workers), 2)
    items[:] = [item for item in items if item not in longest]
    for n, item in enumerate(longest):
        items.insert(n % workers * run + n // workers, item)


def pytest_collection_modifyitems(items):
    in_order(items)
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


@pytest.fixture(autouse=True)
def side_by_side(request, tmp_path_factory):
    """Where tests run side by side, one marked `alone` runs while no other does."""
    if not hasattr(request.config, "workerinput"):
        yield
        return
    alone = request.node.get_closest_marker("alone")
    with open(tmp_path_factory.getbasetemp().parent / "room", "w") as room:
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


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
            reports = one.reports()
            if reports or report is not None and report.failed:
                for log in sorted(one.dir.glob("**/*.log")):
                    lines = log.read_text(errors="replace").splitlines()
                    print(f"--- {log.relative_to(one.dir)} (last lines)")
                    print("\n".join(lines[-60:]))
            assert not reports, f"a sanitizer reports in {', '.join(reports)}"
    assert (resolv.read_bytes() if resolv.exists() else b"") == before, "resolv.conf was changed"


@pytest.fixture
def pair(lab):
    """Two hosts on a wire: a 192.0.2.1, b 192.0.2.2, and 2001:db8::1, ::2."""
    a, b = lab.host("a"), lab.host("b")
    lab.wire(a, b, "192.0.2.1/24,2001:db8::1/64", "192.0.2.2/24,2001:db8::2/64")
    return a, b


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: needs the processors; see side_by_side")
    config.addinivalue_line("markers", "long: takes minutes; see in_order")
    config.addinivalue_line("markers", "accounts(map): who may order certificates, and with what")

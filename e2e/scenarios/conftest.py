"""One cluster with the operator for all scenarios: the kind and the engines by CLUSTER and ENGINE, as for the demo."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cluster.choice import Cluster, NotPossible, choose, existing, make_cluster
from cluster.lab.cluster import LabCluster
from cluster.preflight import DoesNotFit, ensure_fits
from cluster.steps import Steps
from cluster.toolchain import ToolMissing
from demo.bringup import bring_up, engine_folders
from demo.plan import NotOffered, Plan, make_plan
from demo.reach import Reach
from scenarios.world import FEW, FORTY, Fleet, World


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, one cluster serves all scenarios of a fleet."""
    for item in items:
        if isinstance(item, pytest.Function) and "world" in item.fixturenames:
            params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
            item.add_marker(pytest.mark.xdist_group(f"lab-{params.get('fleet', FEW).name}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A scenario that fails leaves what a person would look at first: its cluster is gone when the report is read."""
    report = yield
    found = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(found, World):
        report.sections += found.evidence()
    return report


@pytest.fixture(scope="session")
def world(
    tmp_path_factory: pytest.TempPathFactory, uncaptured: Callable[[], AbstractContextManager[None]]
) -> Iterator[World]:
    """Brought up once, removed at the end. What this machine cannot run is skipped with the reason."""
    with uncaptured():
        steps = Steps()
        plan, cluster = _planned(tmp_path_factory.mktemp("cluster"), steps)
    try:
        with uncaptured():
            stage = bring_up(plan, cluster, steps)
        with contextlib.closing(Reach(stage.kubectl, direct=cluster.kind != "kind")) as reach:
            yield World(stage, plan, reach)
    except ToolMissing as reason:  # packages that cannot be had here
        pytest.skip(str(reason))
    finally:
        with uncaptured():
            cluster.down()


def _planned(folder: Path, steps: Steps) -> tuple[Plan, Cluster]:
    try:
        plan = make_plan(choose(os.environ.get("CLUSTER") or "auto"), os.environ.get("ENGINE") or "auto")
        steps.say(f"cluster: {plan.choice.kind} ({plan.choice.why}); engines: {plan.engine}")
        ensure_fits(plan.needs(), steps)
        return plan, _cluster(plan, steps, folder)
    except (NotPossible, NotOffered, DoesNotFit, ToolMissing) as reason:
        pytest.skip(str(reason))


def _cluster(plan: Plan, steps: Steps, folder: Path) -> Cluster:
    if plan.choice.kind == "lab":  # beside a demo's lab, and gone with the tests
        return LabCluster(steps, plan.choice.why, state=folder / "lab", with_parent=True)
    if any(cluster.kind == plan.choice.kind for cluster in existing(steps)):
        pytest.exit(f"a {plan.choice.kind} cluster is up, and would be removed: `make demo-clean` first", 1)
    return make_cluster(plan.choice, steps, host_paths=engine_folders(plan, steps))


@pytest.fixture
def fleet(world: World, request: pytest.FixtureRequest) -> Fleet:
    """A service that scenarios share: the sample, static at one prefill and two decode engines, or at 10P:30D."""
    wanted: Fleet = getattr(request, "param", FEW)
    if wanted is FORTY and world.plan.engine != "sim":
        pytest.skip("40 engines are simulated ones: `make test` runs this in the lab")
    world.share(wanted)
    return wanted

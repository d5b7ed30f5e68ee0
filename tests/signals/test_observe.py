"""Pods and their metrics to an Observation; what cannot be read stays unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pdoperator.api import names
from pdoperator.api.names import Pool, Role, State
from pdoperator.api.values import Missing, PerRole, Value
from pdoperator.forecast.demand import Demand
from pdoperator.planning.observation import EngineView, Observation, PrefillTimes, Transfers
from pdoperator.signals import readings as readings_module
from pdoperator.signals.observe import ServiceScraper
from pdoperator.signals.pods import PodView
from signals.expositions import engine_text, router_text

NOW_S = 1_764_000_000.0


def pod(name: str, ip: str, labels: dict[str, str] | None = None, **changes: Any) -> PodView:
    known: dict[str, Any] = {
        "ready": True,
        "deleting": False,
        "created_s": NOW_S - 500,
        "labels": labels or {},
    }
    return PodView(name=name, ip=ip, **(known | changes))


def engine_pod(name: str, ip: str, role: str = "decode", state: str = "serving", **changes: Any) -> PodView:
    labels = {
        names.LABEL_ROLE: role,
        names.LABEL_STATE: state,
        names.LABEL_POOL: "shared",
        names.LABEL_REVISION: "r1",
    }
    return pod(name, ip, labels, **changes)


ROUTER = pod("router-1", "10.0.1.1")
SECOND = pod("router-2", "10.0.1.2")
ENGINE = engine_pod("e1", "10.0.2.1")
DRAINING = engine_pod("e2", "10.0.2.2", state="draining")


class Cluster:
    """A scraper, and what is behind each pod address; an address that is not there cannot be read."""

    def __init__(self, scraper: ServiceScraper) -> None:
        self.scraper = scraper
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []
        self.now_s = NOW_S

    async def scrape_all(self, _: object, urls: dict[str, str]) -> dict[str, Value[str] | Missing]:
        self.asked = list(urls.values())
        by_ip = {name: url.split("/")[2].rsplit(":", 1)[0] for name, url in urls.items()}
        return {
            n: Value(self.answers[ip]) if ip in self.answers else Missing("away") for n, ip in by_ip.items()
        }

    async def after(
        self,
        seconds: float,
        *,
        engines: tuple[PodView, ...] = (ENGINE,),
        routers: tuple[PodView, ...] = (ROUTER,),
        end_interval: bool = True,
    ) -> Observation:
        self.now_s += seconds
        return await self.scraper.observe(engines, routers, self.now_s, end_interval=end_interval)


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(ServiceScraper(session=None))  # type: ignore[arg-type]
    monkeypatch.setattr(readings_module, "scrape_all", made.scrape_all)
    return made


def only(observation: Observation) -> EngineView:
    [view] = observation.engines
    return view


async def test_demand_and_tpot_are_those_of_the_interval(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(10, (1000, 10), (100, 10), (0.5, 10))
    assert isinstance((await cluster.after(0)).demand, Missing)
    cluster.answers["10.0.1.1"] = router_text(55, (46_000, 55), (1000, 55), (2.75, 55))
    seen = await cluster.after(15)
    assert seen.demand == Value(Demand(3.0, 1000.0, 20.0))
    assert isinstance(seen.tpot_s, Value)
    assert seen.tpot_s.x == pytest.approx(0.05)


async def test_looks_in_between_do_not_end_the_interval(cluster: Cluster) -> None:
    for second, admitted in enumerate([0, 10, 20, 30]):
        cluster.answers["10.0.1.1"] = router_text(
            admitted, (admitted * 100, admitted), (admitted * 5, admitted)
        )
        seen = await cluster.after(min(second, 1), end_interval=second in (0, 3))
        assert isinstance(seen.demand, Missing) or second == 3
    assert seen.demand == Value(Demand(10.0, 100.0, 5.0))


async def test_an_engine_is_told_by_its_labels_and_annotations(cluster: Cluster) -> None:
    annotations = {
        names.ANNOTATION_FLIP_STARTED: "2025-11-24T16:00:00.250Z",
        names.ANNOTATION_DRAIN_STARTED: "yesterday",
        names.ANNOTATION_DELETION_COST: "-1000000",
    }
    view = only(await cluster.after(0, engines=(replace(ENGINE, annotations=annotations),)))
    assert (view.role, view.state, view.pool, view.revision) == (
        Role.DECODE,
        State.SERVING,
        Pool.SHARED,
        "r1",
    )
    assert (view.flip_started_s, view.drain_started_s, view.removing) == (NOW_S + 0.25, None, True)


@pytest.mark.parametrize(("cost", "removing"), [("-1", True), ("0", False), ("100", False), ("cheap", False)])
def test_only_a_negative_deletion_cost_marks_an_engine_for_removal(cost: str, removing: bool) -> None:
    assert replace(ENGINE, annotations={names.ANNOTATION_DELETION_COST: cost}).removing is removing


async def test_an_engine_without_labels_is_one_that_has_no_role_yet(cluster: Cluster) -> None:
    bare = pod("e1", "10.0.2.1", {names.LABEL_ROLE: "king", names.LABEL_STATE: "asleep"})
    view = only(await cluster.after(0, engines=(bare,)))
    assert (view.role, view.state, view.pool, view.removing) == (Role.BOTH, State.WARMING, Pool.SHARED, False)


async def test_outstanding_work_adds_up_over_all_routers(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(0, outstanding={("e1", "decode"): 2}, roles={"e1": "decode"})
    cluster.answers["10.0.1.2"] = router_text(0, outstanding={("e1", "prefill"): 1}, roles={"e1": "decode"})
    view = only(await cluster.after(0, routers=(ROUTER, SECOND)))
    assert view.outstanding == Value(PerRole(1, 2))
    assert view.routed_role is Role.DECODE


async def test_routers_that_differ_have_no_common_role(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(0, roles={"e1": "decode"})
    cluster.answers["10.0.1.2"] = router_text(0, roles={"e1": "prefill"})
    assert only(await cluster.after(0, routers=(ROUTER, SECOND))).routed_role is None


async def test_an_engine_that_a_router_does_not_name_has_nothing_from_it(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(0)
    view = only(await cluster.after(0))
    assert (view.outstanding, view.routed_role) == (Value(PerRole(0, 0)), None)


@pytest.mark.parametrize("second", [SECOND, replace(SECOND, ip="")])
async def test_one_serving_router_that_cannot_be_read_makes_work_roles_and_demand_unknown(
    cluster: Cluster, second: PodView
) -> None:
    cluster.answers["10.0.1.1"] = router_text(0, roles={"e1": "decode"})
    seen = await cluster.after(0, routers=(ROUTER, second))
    assert isinstance(only(seen).outstanding, Missing)
    assert only(seen).routed_role is None
    assert isinstance(seen.demand, Missing)
    assert "router-2" in seen.demand.why


@pytest.mark.parametrize("change", [{"ready": False}, {"deleting": True}])
async def test_a_router_that_does_not_serve_need_not_be_readable(
    cluster: Cluster, change: dict[str, Any]
) -> None:
    cluster.answers["10.0.1.1"] = router_text(0)
    seen = await cluster.after(0, routers=(ROUTER, replace(SECOND, **change)))
    assert only(seen).outstanding == Value(PerRole(0, 0))


async def test_work_of_a_router_that_is_ending_counts(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(0, roles={"e1": "decode"})
    cluster.answers["10.0.1.2"] = router_text(0, outstanding={("e1", "decode"): 3})
    view = only(await cluster.after(0, routers=(ROUTER, replace(SECOND, deleting=True))))
    assert view.outstanding == Value(PerRole(0, 3))
    assert view.routed_role is Role.DECODE


async def test_without_a_router_nothing_is_known(cluster: Cluster) -> None:
    seen = await cluster.after(0, routers=())
    assert seen.demand == Missing("no router is ready")
    assert only(seen).outstanding == Missing("no router is ready")


async def test_engines_are_asked_at_the_end_of_an_interval_and_in_between_only_while_they_drain(
    cluster: Cluster,
) -> None:
    cluster.answers |= {"10.0.1.1": router_text(0), "10.0.2.2": engine_text(running=1)}
    cluster.answers["10.0.2.1"] = engine_text(running=3, waiting=2, kv_usage=0.5)
    serving, leaving = (await cluster.after(0, engines=(ENGINE, DRAINING))).engines
    assert (serving.running, serving.waiting, serving.kv_use) == (Value(3.0), Value(2.0), Value(0.5))
    serving, leaving = (await cluster.after(1, engines=(ENGINE, DRAINING), end_interval=False)).engines
    assert isinstance(serving.running, Missing)
    assert leaving.running == Value(1.0)
    assert cluster.asked == ["http://10.0.1.1:8080/metrics", "http://10.0.2.2:8000/metrics"]


@pytest.mark.parametrize("answer", [None, "not metrics"])
async def test_an_engine_that_cannot_be_read_is_not_known_to_have_nothing(
    cluster: Cluster, answer: str | None
) -> None:
    if answer is not None:
        cluster.answers["10.0.2.2"] = answer
    view = only(await cluster.after(0, engines=(DRAINING,)))
    assert all(isinstance(reading, Missing) for reading in (view.running, view.waiting, view.kv_use))


async def test_one_engine_without_metrics_blinds_nobody_to_the_others(cluster: Cluster) -> None:
    """aibrix#617: one pod that could not be read stopped all scaling."""
    cluster.answers |= {"10.0.1.1": router_text(0), "10.0.2.2": engine_text(running=1)}
    seen = await cluster.after(0, engines=(ENGINE, DRAINING))
    assert [isinstance(e.running, Missing) for e in seen.engines] == [True, False]
    assert seen.unread == ""


async def test_kv_kept_for_decode_engines_adds_up_over_routers(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(0) + 'pdrouter_kv_exports{engine="e1"} 2\n'
    cluster.answers["10.0.1.2"] = router_text(0) + 'pdrouter_kv_exports{engine="e1"} 1\n'
    assert only(await cluster.after(0, routers=(ROUTER, SECOND))).exporting == Value(3)


PREFILL = engine_pod("p1", "10.0.3.1", role="prefill")


def prefix(hits: float, queries: float, **more: float) -> str:
    counters = {"prefix_cache_hits_total": hits, "prefix_cache_queries_total": queries}
    return engine_text(counters=counters | more)


async def test_prefix_hits_are_those_of_prefill_engines_over_the_interval(cluster: Cluster) -> None:
    fleet = (PREFILL, ENGINE)
    cluster.answers |= {"10.0.1.1": router_text(0, (0, 0), (0, 0)), "10.0.3.1": prefix(900, 1000)}
    cluster.answers["10.0.2.1"] = prefix(0, 0)
    await cluster.after(0, engines=fleet)
    cluster.answers |= {"10.0.1.1": router_text(10, (1000, 10), (100, 10)), "10.0.3.1": prefix(925, 1100)}
    cluster.answers["10.0.2.1"] = prefix(5000, 5000)
    seen = await cluster.after(10, engines=fleet)
    assert isinstance(seen.demand, Value)
    assert seen.demand.x is not None
    assert seen.demand.x.prefix_hit == pytest.approx(0.25)


async def test_waits_of_prompts_are_told_apart_from_the_work_on_them(cluster: Cluster) -> None:
    """dynamo PR#11624: one figure for both let a prompt's own time ask for more engines."""

    def engine(queue_s: float, prefill_s: float, prompts: float) -> str:
        return prefix(
            0,
            0,
            request_queue_time_seconds_sum=queue_s,
            request_queue_time_seconds_count=prompts,
            request_prefill_time_seconds_sum=prefill_s,
            request_prefill_time_seconds_count=prompts,
        )

    fleet = (PREFILL, ENGINE)
    cluster.answers |= {"10.0.1.1": router_text(0), "10.0.3.1": engine(9, 9, 9), "10.0.2.1": engine(0, 0, 0)}
    assert isinstance((await cluster.after(0, engines=fleet)).prefill_times, Missing)
    cluster.answers |= {"10.0.3.1": engine(11, 10, 13), "10.0.2.1": engine(500, 50, 4)}
    seen = await cluster.after(10, engines=fleet)
    assert seen.prefill_times == Value(PrefillTimes(wait_s=0.5, service_s=0.25))
    assert isinstance((await cluster.after(10, engines=fleet)).prefill_times, Missing)  # no prompt, no mean


async def test_transfers_are_counted_over_the_interval_and_a_restart_from_zero(cluster: Cluster) -> None:
    cluster.answers |= {"10.0.1.1": router_text(0)}
    cluster.answers["10.0.2.1"] = prefix(0, 0, nixl_xfer_time_seconds_count=100)
    assert isinstance((await cluster.after(0)).transfers, Missing)
    cluster.answers["10.0.2.1"] = prefix(
        0, 0, nixl_xfer_time_seconds_count=110, nixl_num_failed_transfers_total=2
    )
    assert (await cluster.after(10)).transfers == Value(Transfers(done=10, failed=2))
    cluster.answers["10.0.2.1"] = prefix(0, 0, nixl_xfer_time_seconds_count=3)
    assert (await cluster.after(10)).transfers == Value(Transfers(done=3))


async def test_silence_is_counted_from_the_last_request(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(5)
    assert (await cluster.after(0)).idle_for_s == 0
    assert (await cluster.after(10)).idle_for_s == 10
    cluster.answers["10.0.1.1"] = router_text(6)
    assert (await cluster.after(10)).idle_for_s == 0
    assert (await cluster.after(7, end_interval=False)).idle_for_s == 7


async def test_a_long_request_is_no_silence(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(5, outstanding={("e1", "decode"): 1})
    await cluster.after(0)
    assert (await cluster.after(60)).idle_for_s == 0


async def test_a_time_without_readings_is_no_silence(cluster: Cluster) -> None:
    cluster.answers["10.0.1.1"] = router_text(5)
    await cluster.after(0)
    del cluster.answers["10.0.1.1"]
    assert (await cluster.after(60)).idle_for_s == 0

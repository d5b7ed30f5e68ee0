"""What a PDInferenceService becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdoperator.api import names
from pdoperator.api.names import Pool
from pdoperator.api.spec import Spec
from pdoperator.capacity.builtin import BUILTIN
from pdoperator.workload.engine import engine_args
from pdoperator.workload.pairing import pairing_problem, pools
from pdoperator.workload.render import Owner, engine_deployments, render
from pdoperator.workload.router import router_config

OWNER = Owner("tiny", "team-a", "uid-1")


def spec(**changes: Any) -> Spec:
    return Spec.model_validate({"model": {"name": "Qwen/Qwen2.5-7B-Instruct"}, **changes})


def rendered(service: Spec, replicas: dict[Pool, int] | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    counts = replicas or dict.fromkeys(Pool, 2)
    return {(body["kind"], body["metadata"]["name"]): body for body in render(OWNER, service, counts, "op:1")}


def engine(service: Spec, deployment: str = "tiny-engine") -> dict[str, Any]:
    pod = rendered(service)["Deployment", deployment]["spec"]["template"]["spec"]
    container: dict[str, Any] = pod["containers"][0]
    return container


def flag(container: dict[str, Any], name: str) -> str:
    args: list[str] = container["args"]
    return args[args.index(name) + 1]


def test_the_same_input_renders_the_same_objects() -> None:
    assert rendered(spec()) == rendered(spec())


def test_equal_roles_share_one_pool_of_interchangeable_engines() -> None:
    objects = rendered(spec())
    assert pools(spec()) == (Pool.SHARED,)
    assert ("Deployment", "tiny-engine") in objects
    labels = objects["Deployment", "tiny-engine"]["spec"]["template"]["metadata"]["labels"]
    assert labels[names.LABEL_ROLE] == "both"
    assert labels[names.LABEL_STATE] == "warming"


@pytest.mark.parametrize(
    "changes",
    [
        {"prefill": {"args": ["--max-num-batched-tokens", "16384"]}},
        {"decode": {"tensorParallelSize": 2}},
        {"decode": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}},
        {"pool": "Dedicated"},
    ],
)
def test_roles_that_differ_get_a_deployment_each(changes: dict[str, Any]) -> None:
    objects = rendered(spec(**changes))
    assert ("Deployment", "tiny-engine") not in objects
    assert ("Deployment", "tiny-prefill") in objects
    assert ("Deployment", "tiny-decode") in objects


def test_every_object_is_owned_and_labelled() -> None:
    for body in rendered(spec()).values():
        assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
        assert body["metadata"]["labels"][names.LABEL_SERVICE] == "tiny"
        assert body["metadata"]["namespace"] == "team-a"


def test_engines_can_serve_either_role() -> None:
    config = json.loads(flag(engine(spec()), "--kv-transfer-config"))
    assert config["kv_connector"] == "NixlConnector"
    assert config["kv_role"] == "kv_both"
    assert config["kv_load_failure_policy"] == "recompute"
    assert config["kv_connector_extra_config"]["kv_lease_duration"] == 30


def test_the_side_channel_stands_on_the_pods_address() -> None:
    env = {variable["name"]: variable for variable in engine(spec())["env"]}
    assert env["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert env["VLLM_NIXL_SIDE_CHANNEL_HOST"]["value"] == "$(POD_IP)"
    order = [variable["name"] for variable in engine(spec())["env"]]
    assert order.index("POD_IP") < order.index("VLLM_NIXL_SIDE_CHANNEL_HOST")


def test_the_grace_period_outlasts_the_pre_stop_and_the_engines_own_drain() -> None:
    pod = rendered(spec())["Deployment", "tiny-engine"]["spec"]["template"]["spec"]
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = int(flag(pod["containers"][0], "--shutdown-timeout"))
    assert pod["terminationGracePeriodSeconds"] >= pre_stop + shutdown + 15


def test_gpus_follow_the_tensor_parallel_size() -> None:
    container = engine(spec(prefill={"tensorParallelSize": 4}, decode={"tensorParallelSize": 4}))
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert flag(container, "--tensor-parallel-size") == "4"


def test_cpu_engines_ask_for_no_gpu() -> None:
    assert engine(spec(hardware={"preset": "cpu"}))["resources"] == {}


@pytest.mark.parametrize(
    ("source", "path", "volume"),
    [
        ({}, "Qwen/Qwen2.5-7B-Instruct", None),
        ({"hostPath": {"path": "/srv/m"}}, "/models", {"hostPath": {"path": "/srv/m", "type": "Directory"}}),
        (
            {"pvc": {"claimName": "weights", "path": "qwen"}},
            "/models/qwen",
            {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}},
        ),
    ],
)
def test_the_weights_come_from_their_source(
    source: dict[str, Any], path: str, volume: dict[str, Any] | None
) -> None:
    service = spec(model={"name": "Qwen/Qwen2.5-7B-Instruct", "source": source})
    assert engine(service)["command"] == ["vllm", "serve", path]
    pod = rendered(service)["Deployment", "tiny-engine"]["spec"]["template"]["spec"]
    models = [
        {k: v for k, v in each.items() if k != "name"} for each in pod["volumes"] if each["name"] == "model"
    ]
    assert models == ([volume] if volume else [])


def test_a_hub_token_is_referenced_and_never_read() -> None:
    secret = {"name": "hub", "key": "token"}
    service = spec(model={"name": "m", "source": {"huggingFace": {"tokenSecret": secret}}})
    token = next(variable for variable in engine(service)["env"] if variable["name"] == "HF_TOKEN")
    assert token == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": secret}}


def test_the_users_arguments_and_variables_win() -> None:
    service = spec(
        engine={"args": ["--port", "9"], "env": [{"name": "OMP_NUM_THREADS", "value": "8"}]},
        hardware={"preset": "cpu"},
    )
    container = engine(service)
    assert container["args"][-2:] == ["--port", "9"]
    assert [v["value"] for v in container["env"] if v["name"] == "OMP_NUM_THREADS"] == ["8"]


def test_a_template_is_merged_over_the_rendered_pod() -> None:
    template = {
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "containers": [{"name": "engine", "resources": {"limits": {"cpu": "1"}}}],
            "priorityClassName": "high",
        },
    }
    body = rendered(spec(engine={"template": template}))["Deployment", "tiny-engine"]["spec"]["template"]
    assert body["metadata"]["annotations"] == {"a": "b"}
    assert body["spec"]["priorityClassName"] == "high"
    assert body["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1", "cpu": "1"}
    assert body["spec"]["containers"][0]["command"][0] == "vllm"


def test_a_change_of_either_role_is_a_new_revision_for_both() -> None:
    def revisions(service: Spec) -> set[str]:
        objects = rendered(service)
        return {
            objects["Deployment", f"tiny-{role}"]["spec"]["template"]["metadata"]["labels"][
                names.LABEL_REVISION
            ]
            for role in ("prefill", "decode")
        }

    before = revisions(spec(pool="Dedicated"))
    after = revisions(spec(pool="Dedicated", decode={"args": ["--seed", "1"]}))
    assert len(before) == len(after) == 1
    assert before != after


def test_autoscaling_settings_are_no_new_revision() -> None:
    def template(service: Spec) -> dict[str, Any]:
        found: dict[str, Any] = rendered(service)["Deployment", "tiny-engine"]["spec"]["template"]
        return found

    assert template(spec()) == template(spec(autoscaling={"interval": "5s"}, decode={"maxReplicas": 9}))


IN_PLACE, ONE_MORE = {"maxSurge": 0, "maxUnavailable": 1}, {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("pool", "replicas", "rolling"),
    [
        (Pool.SHARED, 3, IN_PLACE),
        (Pool.DECODE, 2, IN_PLACE),
        (Pool.DECODE, 1, ONE_MORE),
    ],
)
def test_a_pool_rolls_without_an_engine_beyond_the_budget_unless_it_is_the_only_one(
    pool: Pool, replicas: int, rolling: dict[str, int]
) -> None:
    service = spec(pool="Shared" if pool is Pool.SHARED else "Dedicated")
    (deployment,) = engine_deployments(OWNER, service, {pool: replicas})
    assert deployment["spec"]["strategy"]["rollingUpdate"] == rolling


def test_the_router_may_read_pods_and_its_own_settings_and_nothing_else() -> None:
    rules = rendered(spec())["Role", "tiny-router"]["rules"]
    assert {resource for rule in rules for resource in rule["resources"]} == {"pods", "configmaps"}
    assert all(set(rule["verbs"]) == {"get", "list", "watch"} for rule in rules)
    assert next(rule for rule in rules if rule["resources"] == ["configmaps"])["resourceNames"] == [
        "tiny-router"
    ]


def test_the_router_predicts_by_the_profile_that_sizes_are_planned_with() -> None:
    costs = router_config(spec(hardware={"preset": "gh200"}), "tiny").costs
    profile = BUILTIN["h200-llama-3.1-8b-fp8-tp1"]
    assert costs is not None
    assert (costs.ttft_b, costs.ttft_c) == (profile.ttft.b, profile.ttft.c)
    assert (costs.itl_a, costs.itl_b, costs.itl_c) == (profile.itl.a, profile.itl.b, profile.itl.c)
    assert costs.pass_s + costs.latency_s == pytest.approx(profile.ttft.a)
    assert costs.transfer_s_per_token == pytest.approx(131072 / 50e9)
    assert (costs.max_batch, costs.batched_tokens, costs.kv_tokens) == (787, 8192, 945029)


def test_with_a_profile_that_there_is_none_of_the_router_predicts_nothing() -> None:
    assert router_config(spec(hardware={"profile": "a-dream"}), "tiny").costs is None


@pytest.mark.parametrize(
    ("router", "deferral_s"),
    [
        pytest.param({}, 120.0, id="by default"),
        pytest.param({"scheduling": {"order": "FCFS"}}, 0.0, id="first come, first served"),
        pytest.param({"prefillTimeout": "40s"}, 40.0, id="no longer than prefill itself may take"),
    ],
)
def test_how_long_late_prompts_let_others_go_first(router: dict[str, Any], deferral_s: float) -> None:
    assert router_config(spec(router=router), "tiny").deferral_s == deferral_s


def test_engines_go_by_priority_unless_the_user_says_otherwise() -> None:
    args = engine_args(spec(engine={"args": ["--scheduling-policy", "fcfs"]}), spec().prefill)
    assert args.index("priority") < args.index("fcfs")


@pytest.mark.parametrize(
    ("changes", "cached"),
    [
        pytest.param({}, True, id="vLLM's default"),
        pytest.param({"engine": {"args": ["--no-enable-prefix-caching"]}}, False, id="off"),
        pytest.param({"decode": {"args": ["--no-enable-prefix-caching"]}}, False, id="off for one role"),
        pytest.param(
            {
                "engine": {"args": ["--no-enable-prefix-caching"]},
                "prefill": {"args": ["--enable-prefix-caching"]},
                "decode": {"args": ["--enable-prefix-caching"]},
            },
            True,
            id="the last one counts",
        ),
    ],
)
def test_the_router_counts_on_prefix_caches_unless_they_are_switched_off(
    changes: dict[str, Any], cached: bool
) -> None:
    assert router_config(spec(**changes), "tiny").prefix_caching is cached


@pytest.mark.parametrize(("choice", "local"), [({}, True), ({"localPrefill": "Never"}, False)])
def test_local_prefill_can_be_switched_off(choice: dict[str, str], local: bool) -> None:
    assert router_config(spec(router={"scheduling": choice}), "tiny").local_prefill is local


@pytest.mark.parametrize(
    ("prefill", "decode", "named"),
    [
        (["--kv-cache-dtype", "fp8"], [], "--kv-cache-dtype is fp8 in prefill.args and unset in decode.args"),
        (
            ["--dtype=float16"],
            ["--dtype", "bfloat16"],
            "--dtype is float16 in prefill.args and bfloat16 in decode.args",
        ),
        (["--block-size", "64"], ["--block-size", "64"], None),
        ([], [], None),
    ],
)
def test_pools_that_cannot_exchange_kv_are_named_with_the_fix(
    prefill: list[str], decode: list[str], named: str | None
) -> None:
    problem = pairing_problem(spec(pool="Dedicated", prefill={"args": prefill}, decode={"args": decode}))
    assert (problem is None) == (named is None)
    assert (named or "") in (problem or "")


def test_a_shared_pool_with_different_templates_is_refused() -> None:
    aggregated = spec(mode="Aggregated", decode={"template": {"spec": {"priorityClassName": "x"}}})
    assert "set mode to Disaggregated" in (pairing_problem(aggregated) or "")
    problem = pairing_problem(spec(pool="Shared", decode={"template": {"spec": {"priorityClassName": "x"}}}))
    assert problem is not None
    assert "pool to Dedicated" in problem

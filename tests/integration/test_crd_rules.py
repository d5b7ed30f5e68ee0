"""Wrong input is refused by the API server, with a message that names the field and the fix."""

from __future__ import annotations

from typing import Any

import pytest

from integration.api_server import ApiServer
from integration.service import service
from pdoperator.api.crd import crd

Tree = dict[str, Any]

POSITIVE = "must be longer than 0s; give a duration such as 80ms, 2s or 1h30m"
EXTERNAL = {"autoscaling": {"strategy": "External"}}
NINE_TO_FIVE = {"from": "09:00", "to": "17:00"}

# One object for each rule: where the rule stands, the beginning of its message, what breaks it.
BROKEN: list[tuple[str, str, Tree]] = [
    (
        "spec.model.source",
        "spec.model.source takes one of pvc, hostPath and huggingFace",
        {"model": {"source": {"pvc": {"claimName": "weights"}, "huggingFace": {}}}},
    ),
    ("spec.hardware", "preset cpu requests no GPUs", {"hardware": {"preset": "cpu", "gpusPerReplica": 1}}),
    ("spec.prefill", "minReplicas must not exceed maxReplicas", {"prefill": {"minReplicas": 5}}),
    (
        "spec.decode",
        "minReplicas must not exceed maxReplicas",
        {"decode": {"minReplicas": 3, "maxReplicas": 2}},
    ),
    ("spec.prefill", "replicas must lie between minReplicas and maxReplicas", {"prefill": {"replicas": 5}}),
    (
        "spec.decode",
        "replicas must lie between minReplicas and maxReplicas",
        {"decode": {"replicas": 1, "minReplicas": 2}},
    ),
    ("spec.router.requestTimeout", POSITIVE, {"router": {"requestTimeout": "0s"}}),
    ("spec.router.prefillTimeout", POSITIVE, {"router": {"prefillTimeout": "0ms"}}),
    ("spec.slo.ttft.target", POSITIVE, {"slo": {"ttft": {"target": "0.0s"}}}),
    ("spec.slo.tpot.target", POSITIVE, {"slo": {"tpot": {"target": "0h0m"}}}),
    ("spec.autoscaling.interval", "must be at least 1s", {"autoscaling": {"interval": "999ms"}}),
    (
        "spec.autoscaling.forecast.horizon",
        "must be longer than 0s; give Auto",
        {"autoscaling": {"forecast": {"horizon": "0s"}}},
    ),
    (
        "spec.autoscaling.ratio",
        "ratio.min must not exceed ratio.max",
        {"autoscaling": {"ratio": {"min": "1:2", "max": "1:3"}}},
    ),
    ("spec", "autoscaling.strategy External needs spec.replicas", EXTERNAL),
    ("spec", "spec.replicas (the scale subresource) is the total", {"replicas": 4}),
    ("spec", "spec.replicas must lie between the sums", {"replicas": 9, **EXTERNAL}),
    (
        "spec",
        "autoscaling.gpuBudget does not hold minReplicas",
        {
            "autoscaling": {"gpuBudget": 7},
            "prefill": {"tensorParallelSize": 4},
            "decode": {"tensorParallelSize": 4},
        },
    ),
    ("spec", "autoscaling.ratio.min cannot be met", {"autoscaling": {"ratio": {"min": "5:1"}}}),
    (
        "spec",
        "autoscaling.ratio.max cannot be met",
        {"autoscaling": {"ratio": {"max": "1:3"}, "gpuBudget": 3}},
    ),
    *(
        (f"spec.autoscaling.{part}[]", message, {"autoscaling": {part: [more | period]}})
        for part, more in (("calendar", {"factor": 2}), ("schedules", {}))
        for message, period in (
            ("from and to must be of the same kind", {"from": "09:00", "to": "2026-01-31T09:00:00Z"}),
            ("from must be before to", {"from": "2026-01-31T09:00:00Z", "to": "2026-01-31T10:00:00+01:00"}),
            (
                "days and timeZone belong to times of day",
                {"from": "2026-01-31T09:00:00Z", "to": "2026-01-31T10:00:00Z", "days": ["Fri"]},
            ),
        )
    ),
    (
        "spec.autoscaling.calendar[]",
        "an event takes either factor or floor",
        {"autoscaling": {"calendar": [{**NINE_TO_FIVE, "factor": 2, "floor": 9}]}},
    ),
    (
        "spec",
        "autoscaling.schedules: minReplicas of a schedule exceeds maxReplicas",
        {"autoscaling": {"schedules": [{**NINE_TO_FIVE, "decode": {"minReplicas": 5}}]}},
    ),
    (
        "spec",
        "autoscaling.schedules: gpuBudget does not hold minReplicas",
        {"autoscaling": {"gpuBudget": 3, "schedules": [{**NINE_TO_FIVE, "prefill": {"minReplicas": 3}}]}},
    ),
    (
        "spec",
        "pool Shared needs the same args and tensorParallelSize",
        {"pool": "Shared", "decode": {"args": ["--max-num-seqs=8"]}},
    ),
    *(
        ("spec", "mode Auto and Aggregated need engines that serve either role", {"mode": mode, **more})
        for mode, more in (
            ("Aggregated", {"pool": "Dedicated"}),
            ("Auto", {"prefill": {"args": ["--max-num-seqs=8"]}}),
            ("Auto", {"decode": {"tensorParallelSize": 2}}),
        )
    ),
    (
        "spec",
        "hardware.gpusPerReplica is less than tensorParallelSize",
        {"hardware": {"gpusPerReplica": 1}, "decode": {"tensorParallelSize": 2}},
    ),
]

# Just on the right side of a rule.
SOUND: dict[str, Tree] = {
    "one source": {"model": {"source": {"hostPath": {"path": "/models/m"}}}},
    "CPU with no GPUs": {"hardware": {"preset": "cpu", "gpusPerReplica": 0}},
    "min equals max": {"prefill": {"minReplicas": 4, "replicas": 4}},
    "ratio pinned": {"autoscaling": {"ratio": {"min": "2:4", "max": "1:2"}}},
    "ratio bounds compared as numbers": {"autoscaling": {"ratio": {"min": "9:10", "max": "10:11"}}},
    "external total at its least": {"replicas": 2, **EXTERNAL},
    "external total at its most": {"replicas": 8, **EXTERNAL},
    "budget used up": {"autoscaling": {"gpuBudget": 8}, "hardware": {"gpusPerReplica": 4}},
    "an engine on CPU costs one": {
        "hardware": {"preset": "cpu"},
        "decode": {"tensorParallelSize": 2},
        "autoscaling": {"gpuBudget": 2},
    },
    "ratio.min just met": {"autoscaling": {"ratio": {"min": "4:1"}}},
    "ratio.min rounds up": {"autoscaling": {"ratio": {"min": "3:2"}}, "prefill": {"maxReplicas": 2}},
    "ratio.max just met": {"autoscaling": {"ratio": {"max": "1:3"}, "gpuBudget": 4}},
    "shared pool of equals": {"pool": "Shared", "prefill": {"args": ["-a"]}, "decode": {"args": ["-a"]}},
    "aggregated with the bounds of a ratio": {"mode": "Aggregated", "autoscaling": {"ratio": {"min": "1:4"}}},
    "mode Auto in a shared pool": {"mode": "Auto", "pool": "Shared"},
    "all that a pause can say": {
        "autoscaling": {
            "pause": [{}, {"role": "Decode", "direction": "Down", "until": "2026-01-31T18:00:00+01:00"}]
        }
    },
    "events by the clock and by date": {
        "autoscaling": {
            "calendar": [
                {
                    "from": "22:00",
                    "to": "06:00",
                    "days": ["Fri", "Sat"],
                    "timeZone": "Europe/Berlin",
                    "factor": 3,
                },
                {"from": "2026-01-31T09:00:00Z", "to": "2026-01-31T09:00:01Z", "floor": 0.5},
            ]
        }
    },
    "a schedule raises both bounds": {
        "autoscaling": {
            "gpuBudget": 12,
            "schedules": [{**NINE_TO_FIVE, "prefill": {"minReplicas": 8, "maxReplicas": 8}}],
        }
    },
    "a horizon of one's own": {"autoscaling": {"forecast": {"horizon": "2m"}}},
    "shortest interval": {"autoscaling": {"interval": "1s"}},
    "composed duration": {"slo": {"ttft": {"target": "1m1.5s"}}},
}

# Patterns, enums and bounds: the field that the server must name, and what breaks it.
OUT_OF_BOUNDS: list[tuple[str, Tree]] = [
    ("spec.model.name", {"model": {"name": ""}}),
    ("spec.model.source.hostPath.path", {"model": {"source": {"hostPath": {"path": "models"}}}}),
    ("spec.hardware.preset", {"hardware": {"preset": "tpu"}}),
    (
        "spec.hardware.inlineProfile.kvTokens",
        {"hardware": {"inlineProfile": {"ttft": {"a": 1}, "itl": {"a": 1}}}},
    ),
    ("spec.engine.image", {"engine": {"image": ""}}),
    ("spec.engine.args", {"engine": {"args": ["x"] * 65}}),
    ("spec.engine.env[1]", {"engine": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}),
    ("spec.engine.env[0].name", {"engine": {"env": [{"value": "1"}]}}),
    ("spec.prefill.minReplicas", {"prefill": {"minReplicas": 0}}),
    ("spec.decode.maxReplicas", {"decode": {"maxReplicas": 1001}}),
    ("spec.decode.tensorParallelSize", {"decode": {"tensorParallelSize": 1.5}}),
    ("spec.mode", {"mode": "Hybrid"}),
    ("spec.pool", {"pool": "Both"}),
    ("spec.transport.kvLeaseSeconds", {"transport": {"kvLeaseSeconds": 4}}),
    ("spec.transport.loadFailurePolicy", {"transport": {"loadFailurePolicy": "Retry"}}),
    ("spec.router.replicas", {"router": {"replicas": 33}}),
    ("spec.router.requestTimeout", {"router": {"requestTimeout": "soon"}}),
    ("spec.slo.ttft.percentile", {"slo": {"ttft": {"percentile": 100}}}),
    ("spec.slo.tpot.target", {"slo": {"tpot": {"target": "80"}}}),
    ("spec.autoscaling.strategy", {"autoscaling": {"strategy": "dopd"}}),
    ("spec.autoscaling.forecast.window", {"autoscaling": {"forecast": {"window": 4}}}),
    ("spec.autoscaling.forecast.horizon", {"autoscaling": {"forecast": {"horizon": "auto"}}}),
    ("spec.autoscaling.forecast.quantile", {"autoscaling": {"forecast": {"quantile": 0.4}}}),
    ("spec.autoscaling.gpuBudget", {"autoscaling": {"gpuBudget": 0}}),
    ("spec.autoscaling.ratio.min", {"autoscaling": {"ratio": {"min": "0:4"}}}),
    (
        "spec.autoscaling.behavior.scaleUp.stabilizationWindowSeconds",
        {"autoscaling": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": -1}}}},
    ),
    (
        "spec.autoscaling.behavior.scaleDown.policies",
        {"autoscaling": {"behavior": {"scaleDown": {"policies": []}}}},
    ),
    (
        "spec.autoscaling.behavior.scaleUp.policies[0].type",
        {
            "autoscaling": {
                "behavior": {"scaleUp": {"policies": [{"type": "Engines", "value": 1, "periodSeconds": 15}]}}
            }
        },
    ),
    (
        "spec.autoscaling.behavior.scaleUp.policies[0].periodSeconds",
        {
            "autoscaling": {
                "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}
            }
        },
    ),
    (
        "spec.autoscaling.behavior.scaleDown.selectPolicy",
        {"autoscaling": {"behavior": {"scaleDown": {"selectPolicy": "Most"}}}},
    ),
    ("spec.autoscaling.pause[0].role", {"autoscaling": {"pause": [{"role": "decode"}]}}),
    ("spec.autoscaling.pause[0].until", {"autoscaling": {"pause": [{"until": "18:00"}]}}),
    (
        "spec.autoscaling.calendar[0].from",
        {"autoscaling": {"calendar": [{"from": "9", "to": "17:00", "factor": 2}]}},
    ),
    (
        "spec.autoscaling.calendar[0].factor",
        {"autoscaling": {"calendar": [{**NINE_TO_FIVE, "factor": 0.5}]}},
    ),
    (
        "spec.autoscaling.schedules[0].days[0]",
        {"autoscaling": {"schedules": [{**NINE_TO_FIVE, "days": ["Friday"]}]}},
    ),
    (
        "spec.autoscaling.behavior.scaleDown.tolerance",
        {"autoscaling": {"behavior": {"scaleDown": {"tolerance": -0.1}}}},
    ),
]


def _rules(schema: Tree, path: str) -> list[tuple[str, str]]:
    """Path and message of every rule in a schema."""
    found = [(path, rule["message"]) for rule in schema.get("x-kubernetes-validations", [])]
    for name, field in schema.get("properties", {}).items():
        found += _rules(field, f"{path}.{name}".lstrip("."))
    return found + (_rules(schema["items"], f"{path}[]") if "items" in schema else [])


def test_every_rule_of_the_spec_has_an_object_that_breaks_it() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    unbroken = [
        (path, message)
        for path, message in _rules(schema, "spec")
        if not any(path == where and message.startswith(text) for where, text, _ in BROKEN)
    ]
    assert not unbroken


@pytest.mark.parametrize(("path", "message", "changes"), BROKEN, ids=[f"{p}: {m[:40]}" for p, m, _ in BROKEN])
def test_a_broken_rule_is_refused_with_field_and_fix(
    api_server: ApiServer, path: str, message: str, changes: Tree
) -> None:
    (whole,) = {
        text for where, text in _rules(_spec_schema(), "spec") if where == path and text.startswith(message)
    }
    assert ";" in whole or ":" in whole, "the message must say what to do, after what is wrong"
    refusal = api_server.refusal(service(changes))
    assert f"{path.replace('[]', '[0]')}: Invalid value" in refusal
    assert whole in refusal


@pytest.mark.parametrize("changes", SOUND.values(), ids=SOUND)
def test_what_just_keeps_the_rules_is_accepted(api_server: ApiServer, changes: Tree) -> None:
    api_server.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=service(changes))


@pytest.mark.parametrize(("path", "changes"), OUT_OF_BOUNDS, ids=[path for path, _ in OUT_OF_BOUNDS])
def test_a_value_out_of_bounds_is_refused_with_its_field(
    api_server: ApiServer, path: str, changes: Tree
) -> None:
    assert f"{path}: " in api_server.refusal(service(changes))


@pytest.mark.parametrize("name", ["a.b", "1st", "a" * 51])
def test_a_name_that_cannot_name_a_service_is_refused(api_server: ApiServer, name: str) -> None:
    assert "metadata.name becomes the name of a Service" in api_server.refusal(service(name=name))


def test_the_longest_name_is_accepted(api_server: ApiServer) -> None:
    api_server.kubectl("create", "--dry-run=server", "-f", "-", stdin=service(name="a" * 50))


def test_an_object_without_a_model_is_refused(api_server: ApiServer) -> None:
    assert "spec.model: Required value" in api_server.refusal({**service(), "spec": {}})


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"modle": {}}, "spec.modle"), ({"slo": {"ttft": {"p": 99}}}, "spec.slo.ttft.p")],
)
def test_an_unknown_field_is_refused_under_strict_validation(
    api_server: ApiServer, changes: Tree, field: str
) -> None:
    assert f'unknown field "{field}"' in api_server.refusal(service(changes))


def _spec_schema() -> Tree:
    schema: Tree = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema

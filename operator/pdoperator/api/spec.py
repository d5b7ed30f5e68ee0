"""The spec of a PDInferenceService: the single source of its fields, defaults and admission rules.

Rules of one field or part stand beside it as CEL, those across parts in `admission`; the API server checks both.
What only the operator can see (templates that differ, flags that cannot pair) is checked by `workload`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from pdoperator.api import defaults
from pdoperator.api.admission import SPEC_RULES
from pdoperator.api.autoscaling import Autoscaling
from pdoperator.api.model import ApiModel, Duration, rules

Arg = Annotated[str, Field(max_length=4096)]
Args = Annotated[list[Arg], Field(max_length=64)]
PodTemplate = Annotated[
    dict[str, Any], Field(description="A pod template (metadata, spec) merged over the rendered one.")
]


class EnvVar(ApiModel):
    """An environment variable with a plain value; anything else goes through `template`."""

    name: Annotated[str, Field(min_length=1, max_length=256, description="Name of the variable.")]
    value: Annotated[str, Field(max_length=4096, description="Its value; $(VAR) is expanded.")] = ""


class PvcSource(ApiModel):
    """Weights on a PersistentVolumeClaim."""

    claim_name: Annotated[
        str, Field(min_length=1, max_length=253, description="PersistentVolumeClaim in the same namespace.")
    ]
    path: Annotated[str, Field(max_length=1024, description="Folder of the weights inside the volume.")] = ""


class HostPathSource(ApiModel):
    """Weights in a folder that every node has."""

    path: Annotated[str, Field(pattern=r"^/", max_length=1024, description="Absolute path on the node.")]


class SecretKey(ApiModel):
    """One key of a Secret in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the Secret.")]
    key: Annotated[str, Field(min_length=1, max_length=253, description="Key inside the Secret.")]


class HuggingFaceSource(ApiModel):
    """Weights from the Hugging Face hub, by the model's name."""

    token_secret: Annotated[
        SecretKey | None, Field(description="Access token for gated models; set as HF_TOKEN by the kubelet.")
    ] = None


class ModelSource(ApiModel):
    """Where the weights come from; without one, the Hugging Face hub."""

    model_config = {
        "json_schema_extra": rules(
            (
                "[has(self.pvc), has(self.hostPath), has(self.huggingFace)].filter(x, x).size() <= 1",
                "spec.model.source takes one of pvc, hostPath and huggingFace; remove the others",
            )
        )
    }

    pvc: PvcSource | None = None
    host_path: HostPathSource | None = None
    hugging_face: HuggingFaceSource | None = None


class Model(ApiModel):
    """The model that is served."""

    name: Annotated[
        str, Field(min_length=1, max_length=256, description="For example Qwen/Qwen2.5-7B-Instruct.")
    ]
    served_name: Annotated[
        str, Field(max_length=256, description="Name in requests; model.name if empty.")
    ] = ""
    source: ModelSource = ModelSource()


class Preset(StrEnum):
    """Settings that belong to a kind of machine."""

    GH200 = "gh200"
    H100 = "h100"
    CPU = "cpu"


class LatencyFit(ApiModel):
    """Coefficients of a fitted latency; see Profile."""

    a: Annotated[float, Field(ge=0, description="Constant part, seconds.")]
    b: Annotated[
        float, Field(ge=0, description="Seconds per token (ttft) or per request of the batch (itl).")
    ] = 0.0
    c: Annotated[
        float,
        Field(ge=0, description="Seconds per token squared (ttft) or per request and context token (itl)."),
    ] = 0.0


class InlineProfile(ApiModel):
    """What one engine can do, measured: ttft_s = a + b*isl + c*isl^2, itl_s = a + b*batch + c*batch*context."""

    ttft: Annotated[LatencyFit, Field(description="Prefill latency: a + b*isl + c*isl^2 seconds.")]
    itl: Annotated[
        LatencyFit, Field(description="Inter-token latency: a + b*batch + c*batch*context seconds.")
    ]
    kv_tokens: Annotated[int, Field(ge=1, description="Tokens whose KV one engine holds.")]
    max_batch: Annotated[int, Field(ge=1, description="--max-num-seqs of the engine.")] = 256


class Hardware(ApiModel):
    """What an engine runs on."""

    model_config = {
        "json_schema_extra": rules(
            (
                "self.preset != 'cpu' || !has(self.gpusPerReplica) || self.gpusPerReplica == 0",
                "preset cpu requests no GPUs; remove hardware.gpusPerReplica or choose a GPU preset",
            )
        )
    }

    preset: Annotated[Preset, Field(description="Settings that belong to a kind of machine.")] = Preset.H100
    gpu_resource: Annotated[
        str, Field(min_length=1, max_length=253, description="Extended resource that stands for one GPU.")
    ] = defaults.GPU_RESOURCE
    gpus_per_replica: Annotated[
        int | None, Field(ge=0, le=64, description="GPUs of one engine; its tensorParallelSize if absent.")
    ] = None
    profile: Annotated[
        str,
        Field(max_length=128, description="Name of a built-in performance profile; the preset's if empty."),
    ] = ""
    inline_profile: Annotated[
        InlineProfile | None, Field(description="A measured profile; goes before `profile`.")
    ] = None


class Engine(ApiModel):
    """The engine of both roles."""

    image: Annotated[str, Field(min_length=1, max_length=1024, description="Image with vLLM and NIXL.")] = (
        defaults.ENGINE_IMAGE
    )
    args: Annotated[Args, Field(description="Arguments of `vllm serve`, after the operator's own.")] = []
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=64,
            description="Environment; goes before the operator's own variables of the same name.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    template: PodTemplate = {}


class RoleSpec(ApiModel):
    """The engines of one role."""

    model_config = {
        "json_schema_extra": rules(
            (
                "self.minReplicas <= self.maxReplicas",
                "minReplicas must not exceed maxReplicas; lower minReplicas or raise maxReplicas",
            ),
            (
                "!has(self.replicas) || (self.replicas >= self.minReplicas && self.replicas <= self.maxReplicas)",
                "replicas must lie between minReplicas and maxReplicas; change replicas or the bounds",
            ),
        )
    }

    replicas: Annotated[
        int | None,
        Field(
            ge=1,
            le=1000,
            description="Engines while autoscaling is off or Static, else the first ones; minReplicas if absent.",
        ),
    ] = None
    min_replicas: Annotated[int, Field(ge=1, le=1000, description="Never fewer engines than this.")] = (
        defaults.MIN_REPLICAS
    )
    max_replicas: Annotated[int, Field(ge=1, le=1000, description="Never more engines than this.")] = (
        defaults.MAX_REPLICAS
    )
    tensor_parallel_size: Annotated[
        int, Field(ge=1, le=64, description="GPUs that hold one copy of the model.")
    ] = defaults.TENSOR_PARALLEL_SIZE
    args: Annotated[Args, Field(description="Arguments of this role only, after those of engine.")] = []
    template: PodTemplate = {}

    @property
    def first_replicas(self) -> int:
        """Replicas before any decision."""
        return self.min_replicas if self.replicas is None else self.replicas


class Mode(StrEnum):
    """Whether prefill and decode run on different engines.

    Aggregated engines have the decode role and prefill their own prompts. Bounds and first replicas of both roles then
    add up, and autoscaling.ratio does not apply. Auto changes from one to the other at run time, by flips.
    """

    AUTO = "Auto"
    DISAGGREGATED = "Disaggregated"
    AGGREGATED = "Aggregated"


class PoolKind(StrEnum):
    """Whether prefill and decode share one pool of engines, whose roles flip."""

    AUTO = "Auto"
    SHARED = "Shared"
    DEDICATED = "Dedicated"


class Backend(StrEnum):
    """NIXL's back end."""

    UCX = "UCX"


class LoadFailurePolicy(StrEnum):
    """What decode does when the KV cannot be fetched."""

    RECOMPUTE = "Recompute"
    FAIL = "Fail"


class Transport(ApiModel):
    """How KV goes from prefill to decode."""

    backend: Annotated[Backend, Field(description="NIXL's back end.")] = Backend.UCX
    kv_lease_seconds: Annotated[
        int, Field(ge=5, le=3600, description="How long prefill keeps KV that decode has not asked for.")
    ] = defaults.KV_LEASE_S
    load_failure_policy: Annotated[
        LoadFailurePolicy, Field(description="What decode does when the KV cannot be fetched.")
    ] = LoadFailurePolicy.RECOMPUTE
    ucx_transports: Annotated[str, Field(max_length=256, description="UCX_TLS; UCX chooses if empty.")] = ""
    rdma_resource: Annotated[
        str, Field(max_length=253, description="Extended resource of one RDMA device, such as rdma/ib.")
    ] = ""


class LocalPrefill(StrEnum):
    """Whether a decode engine prefills what prefill engines would be late with."""

    LAZY = "Lazy"
    NEVER = "Never"


class Order(StrEnum):
    """In which order prompts are served when there are more than can be served in time."""

    DEFER_LATE = "DeferLate"
    FCFS = "FCFS"


class Scheduling(ApiModel):
    """How the router picks engines, and in which order they take prompts."""

    local_prefill: Annotated[
        LocalPrefill,
        Field(description="Whether a decode engine prefills what prefill engines would be late with."),
    ] = LocalPrefill.LAZY
    order: Annotated[
        Order,
        Field(description="Whether prompts that will miss the TTFT target let others go first for a while."),
    ] = Order.DEFER_LATE


class Router(ApiModel):
    """The router in front of the engines."""

    replicas: Annotated[int, Field(ge=1, le=32, description="Router pods.")] = defaults.ROUTER_REPLICAS
    image: Annotated[str, Field(max_length=1024, description="The operator's own image if empty.")] = ""
    request_timeout: Annotated[Duration, Field(description="Limit of one whole request.")] = (
        defaults.REQUEST_TIMEOUT
    )
    prefill_timeout: Annotated[
        Duration,
        Field(
            description="Limit of the prefill step; past it another way is tried. Letting others go first comes on top."
        ),
    ] = defaults.PREFILL_TIMEOUT
    scheduling: Scheduling = Scheduling()
    template: PodTemplate = {}


class Target(ApiModel):
    """A latency target at a percentile."""

    target: Annotated[Duration, Field(description="For example 80ms or 2s.")]
    percentile: Annotated[
        int, Field(ge=1, le=99, description="Share of requests, in percent, that must meet it.")
    ] = defaults.PERCENTILE


class TtftTarget(Target):
    """Time to first token: arrival at the router to first token at the client."""

    target: Annotated[Duration, Field(description="For example 2s.")] = defaults.TTFT_TARGET


class TpotTarget(Target):
    """Time per output token after the first."""

    target: Annotated[Duration, Field(description="For example 80ms.")] = defaults.TPOT_TARGET


class Slo(ApiModel):
    """Service level objective."""

    ttft: TtftTarget = TtftTarget()
    tpot: TpotTarget = TpotTarget()


class Spec(ApiModel):
    """What the user wants."""

    model_config = {"json_schema_extra": rules(*SPEC_RULES)}

    model: Model
    mode: Annotated[
        Mode,
        Field(
            description="Prefill and decode on different engines, or both on each; Auto: whichever needs fewer engines."
        ),
    ] = Mode.DISAGGREGATED  # what services without the field always had; Auto is for those who ask for it
    hardware: Hardware = Hardware()
    engine: Engine = Engine()
    prefill: RoleSpec = RoleSpec()
    decode: RoleSpec = RoleSpec()
    pool: Annotated[
        PoolKind, Field(description="Whether prefill and decode share one pool of engines, whose roles flip.")
    ] = PoolKind.AUTO
    transport: Transport = Transport()
    router: Router = Router()
    slo: Slo = Slo()
    autoscaling: Autoscaling = Autoscaling()
    replicas: Annotated[
        int | None,
        Field(ge=2, le=2000, description="All engines, through the scale subresource (External only)."),
    ] = None

    @property
    def served_name(self) -> str:
        """The name that requests use."""
        return self.model.served_name or self.model.name

    def gpus(self, role: RoleSpec) -> int:
        """GPUs that one engine of `role` requests."""
        if self.hardware.preset is Preset.CPU:
            return 0
        per_replica = self.hardware.gpus_per_replica
        return role.tensor_parallel_size if per_replica is None else per_replica

    def budget_cost(self, role: RoleSpec) -> int:
        """What one engine of `role` takes of the GPU budget; on CPU an engine counts as one."""
        return 1 if self.hardware.preset is Preset.CPU else self.gpus(role)

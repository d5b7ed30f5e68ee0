"""The status of a PDInferenceService: what the operator saw, decided and did."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pdoperator.api.defaults import DECISIONS_KEPT, EXPLAINED_AT_MOST
from pdoperator.api.model import ApiModel

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class StatusCondition(ApiModel):
    """As in Kubernetes' metav1.Condition."""

    type: Annotated[str, Field(description="What it is about, such as Ready.")]
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", description="True, False or Unknown.")]
    reason: Annotated[str, Field(description="Why, in one word.")]
    message: Annotated[str, Field(description="Why, for people.")] = ""
    last_transition_time: Annotated[Time, Field(description="When `status` last changed.")]
    observed_generation: Annotated[int | None, Field(description="Generation of the spec it speaks of.")] = (
        None
    )


class RoleStatus(ApiModel):
    """Engines of one role."""

    desired: Annotated[int, Field(description="Engines that the newest decision asks for.")] = 0
    ready: Annotated[int, Field(description="Engines that serve.")] = 0
    starting: Annotated[int, Field(description="Engines that do not serve yet.")] = 0
    draining: Annotated[
        int, Field(description="Engines that finish what they have and take nothing new.")
    ] = 0
    startup_p50_seconds: Annotated[
        float | None, Field(description="Half of the engines were ready this long after their pod was made.")
    ] = None
    startup_p90_seconds: Annotated[
        float | None, Field(description="9 of 10 engines were ready this long after their pod was made.")
    ] = None


class DemandStatus(ApiModel):
    """Demand, observed or forecast."""

    requests_per_second: Annotated[float, Field(description="Requests that arrive each second.")]
    input_tokens: Annotated[float, Field(description="Mean input tokens of a request (ISL).")]
    output_tokens: Annotated[float, Field(description="Mean output tokens of a request (OSL).")]
    input_tokens_cv: Annotated[
        float | None, Field(description="Their spread: standard deviation over mean.")
    ] = None
    output_tokens_cv: Annotated[
        float | None, Field(description="Their spread: standard deviation over mean.")
    ] = None
    prefix_hit: Annotated[
        float | None, Field(description="Share of the input tokens that a prefix cache held.")
    ] = None


class ForecastStatus(ApiModel):
    """The newest forecast."""

    model: Annotated[str, Field(description="The model that made it.")]
    horizon_seconds: Annotated[float, Field(description="How far ahead it looks.")]
    demand: Annotated[DemandStatus, Field(description="Demand at the horizon.")]
    skill: Annotated[
        float | None,
        Field(
            description="Share of the loss of the best simple forecast that it avoided; absent if untested."
        ),
    ] = None
    note: Annotated[str, Field(description="Why it is not the model that was asked for.")] = ""


class SignalStatus(ApiModel):
    """One signal that decisions look at."""

    name: Annotated[str, Field(description="What it tells.")]
    state: Annotated[str, Field(description="Fresh, Old or Missing.")]
    age_seconds: Annotated[float | None, Field(description="Age of the reading; absent if missing.")] = None
    used_as: Annotated[str, Field(description="What decisions do with it now.")]
    message: Annotated[str, Field(description="The reading, or why there is none.")] = ""


class Size(ApiModel):
    """Engines of each role."""

    prefill: Annotated[int, Field(description="Prefill engines.")]
    decode: Annotated[int, Field(description="Decode engines.")]


class CandidateStatus(Size):
    """A size that was weighed."""

    rejected: Annotated[str, Field(description="Why it was not chosen; empty if it was.")] = ""


class DecisionStatus(ApiModel):
    """One decision."""

    time: Annotated[Time, Field(description="When it was taken.")]
    prefill: Annotated[int, Field(description="Prefill engines asked for.")]
    decode: Annotated[int, Field(description="Decode engines asked for.")]
    reason: Annotated[str, Field(description="Why, in one word.")]
    message: Annotated[str, Field(description="Why, for people.")]
    wanted: Annotated[Size | None, Field(description="What was asked for before bounds.")] = None
    limited: Annotated[str, Field(description="The bound that changed it.")] = ""
    demand: Annotated[DemandStatus | None, Field(description="The demand that it was taken on.")] = None
    forecast: Annotated[ForecastStatus | None, Field(description="The forecast that it was taken on.")] = None
    bottleneck: Annotated[str, Field(description="The side that limited the service.")] = ""
    evidence: Annotated[
        list[str], Field(max_length=EXPLAINED_AT_MOST, description="Figures that name the bottleneck.")
    ] = []
    candidates: Annotated[
        list[CandidateStatus], Field(max_length=EXPLAINED_AT_MOST, description="Sizes that were weighed.")
    ] = []
    without_forecast: Annotated[
        Size | None, Field(description="What would have been asked for without the forecast.")
    ] = None


class Status(ApiModel):
    """What the operator saw, decided and did."""

    observed_generation: Annotated[int | None, Field(description="Generation of the spec it speaks of.")] = (
        None
    )
    conditions: Annotated[
        list[StatusCondition],
        Field(
            description="The state of the service and of its parts.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    mode: Annotated[str, Field(description="How it serves now.")] = ""
    replicas: Annotated[int, Field(description="All engines; what the scale subresource shows.")] = 0
    selector: Annotated[str, Field(description="Selects all engines; what the scale subresource shows.")] = ""
    prefill: RoleStatus = RoleStatus()
    decode: RoleStatus = RoleStatus()
    prefill_summary: Annotated[str, Field(description="Ready and desired prefill engines, for people.")] = ""
    decode_summary: Annotated[str, Field(description="Ready and desired decode engines, for people.")] = ""
    ratio: Annotated[str, Field(description="Prefill to decode, prefill first.")] = ""
    demand: Annotated[DemandStatus | None, Field(description="Demand over the last interval.")] = None
    forecast: Annotated[ForecastStatus | None, Field(description="The newest forecast.")] = None
    bottleneck: Annotated[str, Field(description="The side that limits the service now.")] = ""
    bottleneck_evidence: Annotated[
        list[str], Field(max_length=EXPLAINED_AT_MOST, description="Figures that name it.")
    ] = []
    signals: Annotated[
        list[SignalStatus],
        Field(
            max_length=20,
            description="The signals that decisions look at.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    last_reason: Annotated[str, Field(description="Reason of the newest decision.")] = ""
    decisions: Annotated[
        list[DecisionStatus],
        Field(max_length=DECISIONS_KEPT, description="The newest decisions, newest first."),
    ] = []

"""Where signals come from, and who else may change what belongs to a service: parts of `autoscaling`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pdoperator.api.model import ApiModel


class ConflictPolicy(StrEnum):
    """What is done when somebody else changes an object of the service."""

    ENFORCE = "Enforce"
    YIELD = "Yield"


class Prometheus(ApiModel):
    """A Prometheus that scrapes routers and engines."""

    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^\s@]+$",
            max_length=512,
            description="Such as http://prometheus.monitoring:9090; without user name and password.",
        ),
    ]
    pod_label: Annotated[
        str,
        Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63, description="Label with the pod's name."),
    ] = "pod"
    namespace_label: Annotated[
        str,
        Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63, description="Label with the namespace."),
    ] = "namespace"


class MetricsSource(ApiModel):
    """Where signals come from."""

    prometheus: Annotated[
        Prometheus | None,
        Field(
            description="Read from this Prometheus; absent: the operator scrapes routers and engines itself."
        ),
    ] = None

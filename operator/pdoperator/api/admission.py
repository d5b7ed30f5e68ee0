"""CEL rules across the parts of a PDInferenceService: what each part allows by itself, but not together."""

from __future__ import annotations

# One engine costs gpusPerReplica, else its role's tensorParallelSize; with preset cpu an engine counts as one.
_COST = (
    "(self.hardware.preset == 'cpu' ? 1 : (has(self.hardware.gpusPerReplica)"
    " ? self.hardware.gpusPerReplica : self.{role}.tensorParallelSize))"
)
_P_COST, _D_COST = _COST.format(role="prefill"), _COST.format(role="decode")
_BUDGET = "self.autoscaling.gpuBudget"
_MIN, _MAX = "self.autoscaling.ratio.min", "self.autoscaling.ratio.max"


def _part(ratio: str, index: int) -> str:
    return f"int({ratio}.split(':')[{index}])"


# The fewest engines of one role that a ratio bound asks for beside the least of the other: ceil(min * a / b).
_P_NEEDED = f"(self.decode.minReplicas * {_part(_MIN, 0)} + {_part(_MIN, 1)} - 1) / {_part(_MIN, 1)}"
_D_NEEDED = f"(self.prefill.minReplicas * {_part(_MAX, 1)} + {_part(_MAX, 0)} - 1) / {_part(_MAX, 0)}"


def _scheduled(role: str, bound: str) -> str:
    """A bound of schedule `s`: its own, else that of the role."""
    field = f"{role}.{bound}Replicas"
    return f"(has(s.{field}) ? s.{field} : self.{field})"


# Of the spec, as (rule, message).
SPEC_RULES = (
    (
        # HPA and KEDA read the scale subresource, which is an error as long as there is no number.
        "has(self.replicas) || self.autoscaling.strategy != 'External'",
        "autoscaling.strategy External needs spec.replicas, the total that HPA, KEDA or kubectl scale then own;"
        " set it to the number of engines to begin with",
    ),
    (
        "!has(self.replicas) || self.autoscaling.strategy == 'External'",
        "spec.replicas (the scale subresource) is the total of a service whose strategy is External; this one"
        " sizes itself: set autoscaling.strategy to External, or change minReplicas and maxReplicas of prefill"
        " and decode",
    ),
    (
        "!has(self.replicas) || (self.replicas >= self.prefill.minReplicas + self.decode.minReplicas"
        " && self.replicas <= self.prefill.maxReplicas + self.decode.maxReplicas)",
        "spec.replicas must lie between the sums of minReplicas and of maxReplicas of prefill and decode;"
        " change spec.replicas or these bounds",
    ),
    (
        f"!has({_BUDGET})"
        f" || self.prefill.minReplicas * {_P_COST} + self.decode.minReplicas * {_D_COST} <= {_BUDGET}",
        "autoscaling.gpuBudget does not hold minReplicas of prefill and decode;"
        " raise gpuBudget or lower minReplicas",
    ),
    (
        f"!has({_MIN}) || ({_P_NEEDED} <= self.prefill.maxReplicas"
        f" && (!has({_BUDGET}) || {_P_NEEDED} * {_P_COST} + self.decode.minReplicas * {_D_COST} <= {_BUDGET}))",
        "autoscaling.ratio.min cannot be met: it asks for more prefill engines than prefill.maxReplicas or"
        " gpuBudget allow; lower ratio.min or raise them",
    ),
    (
        f"!has({_MAX}) || ({_D_NEEDED} <= self.decode.maxReplicas"
        f" && (!has({_BUDGET}) || self.prefill.minReplicas * {_P_COST} + {_D_NEEDED} * {_D_COST} <= {_BUDGET}))",
        "autoscaling.ratio.max cannot be met: it asks for more decode engines than decode.maxReplicas or"
        " gpuBudget allow; raise ratio.max or raise them",
    ),
    (
        "self.autoscaling.schedules.all(s,"
        f" {_scheduled('prefill', 'min')} <= {_scheduled('prefill', 'max')}"
        f" && {_scheduled('decode', 'min')} <= {_scheduled('decode', 'max')})",
        "autoscaling.schedules: minReplicas of a schedule exceeds maxReplicas of prefill or decode, or its maxReplicas"
        " is below their minReplicas; give both in the schedule",
    ),
    (
        f"!has({_BUDGET}) || self.autoscaling.schedules.all(s, {_scheduled('prefill', 'min')} * {_P_COST}"
        f" + {_scheduled('decode', 'min')} * {_D_COST} <= {_BUDGET})",
        "autoscaling.schedules: gpuBudget does not hold minReplicas of one; raise gpuBudget or lower them",
    ),
    (
        "self.pool != 'Shared' || (self.prefill.tensorParallelSize == self.decode.tensorParallelSize"
        " && self.prefill.args == self.decode.args)",
        "pool Shared needs the same args and tensorParallelSize in prefill and decode;"
        " make them equal or set pool to Dedicated",
    ),
    (
        "self.mode == 'Disaggregated' || (self.pool != 'Dedicated' && self.prefill.args == self.decode.args"
        " && self.prefill.tensorParallelSize == self.decode.tensorParallelSize)",
        "mode Auto and Aggregated need engines that serve either role: set pool to Auto or Shared and make args and"
        " tensorParallelSize of prefill and decode equal, or set mode to Disaggregated",
    ),
    (
        "!has(self.hardware.gpusPerReplica) || self.hardware.gpusPerReplica == 0"
        " || (self.hardware.gpusPerReplica >= self.prefill.tensorParallelSize"
        " && self.hardware.gpusPerReplica >= self.decode.tensorParallelSize)",
        "hardware.gpusPerReplica is less than tensorParallelSize of prefill or decode;"
        " raise gpusPerReplica or remove it",
    ),
)

# The names of a service's parts begin with its own and end up in Services and labels: 63 characters at most.
NAME_LIMIT = 50
# Of the whole object.
OBJECT_RULES = (
    (
        f"self.metadata.name.size() <= {NAME_LIMIT} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name becomes the name of a Service: use lower-case letters, digits and '-', begin with a letter,"
        f" and keep it within {NAME_LIMIT} characters",
    ),
)

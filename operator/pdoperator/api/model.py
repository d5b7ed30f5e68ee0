"""Base of the API models: camelCase outside, snake_case inside, unknown fields refused, values frozen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


class ApiModel(BaseModel):
    """A part of the PDInferenceService."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_enum_values=False
    )


def rules(*pairs: tuple[str, str]) -> JsonDict:
    """JSON schema extra that carries CEL rules, as (rule, message) pairs; a message names field and fix."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}

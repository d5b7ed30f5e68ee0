"""Base of the API models: camelCase outside, snake_case inside, unknown fields refused, values frozen."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from pdoperator.api.units import DURATION_PATTERN


class ApiModel(BaseModel):
    """A part of the PDInferenceService."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_enum_values=False
    )


def rules(*pairs: tuple[str, str]) -> JsonDict:
    """JSON schema extra that carries CEL rules, as (rule, message) pairs; a message names field and fix."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


Duration = Annotated[
    str,
    Field(
        pattern=DURATION_PATTERN,
        max_length=32,
        json_schema_extra=rules(
            (
                "duration(self) > duration('0s')",
                "must be longer than 0s; give a duration such as 80ms, 2s or 1h30m",
            )
        ),
    ),
]

"""Models become a structural schema, or an error that names the field."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

import generate
from pdoperator.api.crd import SchemaError, crd, structural
from pdoperator.api.model import ApiModel, rules

Schema = dict[str, Any]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(ApiModel):
    """Text of the class."""

    model_config = {"json_schema_extra": rules(("self.upperLimit > 0", "raise upperLimit"))}

    upper_limit: int = 3
    maybe: int | None = None


class Outer(ApiModel):
    required: str
    given: Annotated[Inner, Field(description="Text of the field.")] = Inner()
    absent: Inner | None = None
    colour: Colour = Colour.RED
    free: dict[str, Any] = {}
    many: Annotated[list[Inner], Field(max_length=2)] = []


def test_the_committed_crd_is_current() -> None:
    assert not generate.stale(), "run `make generate`"


def test_fields_are_written_in_camel_case() -> None:
    assert set(structural(Inner)["properties"]) == {"upperLimit", "maybe"}


def test_a_field_is_required_when_it_has_no_default() -> None:
    assert structural(Outer)["required"] == ["required"]


def test_an_optional_field_is_its_type_without_a_default() -> None:
    assert structural(Inner)["properties"]["maybe"] == {"type": "integer"}


def test_the_default_of_a_nested_model_is_written_in_full_without_nulls() -> None:
    # An empty object would be refused by the API server where a CEL rule reads one of its fields.
    assert structural(Outer)["properties"]["given"]["default"] == {"upperLimit": 3}


def test_an_optional_nested_model_has_no_default_but_its_fields_have() -> None:
    absent = structural(Outer)["properties"]["absent"]
    assert "default" not in absent
    assert absent["properties"]["upperLimit"]["default"] == 3


def test_the_text_of_a_field_goes_before_that_of_its_class() -> None:
    fields = structural(Outer)["properties"]
    assert fields["given"]["description"] == "Text of the field."
    assert fields["many"]["items"]["description"] == "Text of the class."


def test_rules_are_carried_to_every_place_of_a_model() -> None:
    fields = structural(Outer)["properties"]
    rule = [{"rule": "self.upperLimit > 0", "message": "raise upperLimit"}]
    places = (fields["given"], fields["absent"], fields["many"]["items"])
    assert [place["x-kubernetes-validations"] for place in places] == [rule] * 3


def test_an_enum_becomes_its_values() -> None:
    assert structural(Outer)["properties"]["colour"]["enum"] == ["red", "blue"]


def test_a_free_object_keeps_what_is_in_it() -> None:
    free = structural(Outer)["properties"]["free"]
    assert free == {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "default": {}}


def test_defaults_are_left_out_where_the_operator_alone_writes() -> None:
    assert "default" not in str(structural(Outer, defaulted=False))


class Tree(BaseModel):
    child: Tree | None = None


class _Union(BaseModel):
    field: int | str


class _Map(BaseModel):
    field: dict[str, int]


class _Anything(BaseModel):
    field: Any


class _Set(BaseModel):
    field: set[int]


class _OwnDefault(BaseModel):
    field: Inner = Inner(upper_limit=4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Tree, "Tree.child: Tree contains itself"),
        (_Union, "_Union.field: a union is not translated"),
        (_Map, "_Map.field: a map of one type is not translated"),
        (_Anything, "_Anything.field: has no type"),
        (_Set, "_Set.field: uniqueItems is not translated"),
        (_OwnDefault, "_OwnDefault.field: its default .* is not what its fields' own defaults give"),
    ],
)
def test_what_the_api_server_cannot_say_is_an_error(model: type[BaseModel], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        structural(model)


def test_every_field_explains_itself_in_a_line() -> None:
    def unexplained(schema: Schema, path: str) -> list[str]:
        text = schema.get("description", "")
        found = [] if 0 < len(text) <= 120 and "\n" not in text else [path]
        for name, field in schema.get("properties", {}).items():
            found += unexplained(field, f"{path}.{name}")
        return found

    properties = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    assert not unexplained(properties["spec"], "spec") + unexplained(properties["status"], "status")


def test_a_rule_walks_over_bounded_fields_only() -> None:
    """The API server limits what rules may cost, by the largest value that the schema allows."""

    def unbounded(schema: Schema, path: str) -> list[str]:
        bound = {"array": "maxItems", "string": "maxLength"}.get(schema.get("type", ""))
        found = [path] if bound and bound not in schema and "enum" not in schema else []
        for name, field in schema.get("properties", {}).items():
            found += unbounded(field, f"{path}.{name}")
        return found + (unbounded(schema["items"], f"{path}[]") if "items" in schema else [])

    assert not unbounded(
        crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec"
    )

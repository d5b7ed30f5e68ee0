"""The CustomResourceDefinition, made from the models: pydantic's JSON schema turned into a structural schema.

The API server takes only a part of JSON schema. What is not in that part and not translated here is an error, so that
a model can never ask for something that the API server would silently leave out.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pdoperator.api import names
from pdoperator.api.admission import OBJECT_RULES
from pdoperator.api.model import rules
from pdoperator.api.spec import Spec
from pdoperator.api.status import Status

Schema = dict[str, Any]

_KEPT = {
    *("type", "format", "description", "enum", "required"),
    *("pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"),
}
_EXTENSION = "x-kubernetes-"


class SchemaError(ValueError):
    """A model uses what a structural schema cannot say."""


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition of the API."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT],
            },
            "versions": [_version()],
        },
    }


def structural(model: type[BaseModel], *, defaulted: bool = True) -> Schema:
    """The structural schema of a model, references inlined. Raises SchemaError.

    `defaulted=False` leaves defaults out: what only the operator writes must not be made up by the API server.
    """
    raw = model.model_json_schema(by_alias=True)
    return _Translation(raw.pop("$defs", {}), defaulted).node(raw, model.__name__, ())


def _version() -> dict[str, Any]:
    schema = {
        "type": "object",
        "description": "An LLM served by prefill and decode engines whose ratio follows the load.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this schema."},
            "kind": {"type": "string", "description": "Kind of the object."},
            "metadata": {"type": "object"},
            "spec": structural(Spec),
            "status": structural(Status, defaulted=False),
        },
        **rules(*OBJECT_RULES),
    }
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            _column("Mode", ".status.mode", "How it serves now."),
            _column("Prefill", ".status.prefillSummary", "Ready and desired prefill engines."),
            _column("Decode", ".status.decodeSummary", "Ready and desired decode engines."),
            _column("Ratio", ".status.ratio", "Prefill to decode, prefill first."),
            _column("Bottleneck", ".status.bottleneck", "The side that limits the service now."),
            _column("Ready", ".status.conditions[?(@.type=='Ready')].status", "Whether it serves as asked."),
            _column(
                "Forecast", ".status.forecast.demand.requestsPerSecond", "Requests per second.", "number", 1
            ),
            _column("Reason", ".status.lastReason", "Reason of the newest decision.", wide=1),
            _column("Age", ".metadata.creationTimestamp", "Time since it was made.", "date"),
        ],
    }


def _column(name: str, path: str, description: str, kind: str = "string", wide: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": wide} if wide else column


class _Translation:
    """Walks one JSON schema. `path` names the field in errors, `outer` are the models around it."""

    def __init__(self, definitions: dict[str, Schema], defaulted: bool) -> None:
        self._definitions = definitions
        self._defaulted = defaulted

    def node(self, raw: Schema, path: str, outer: tuple[str, ...]) -> Schema:
        raw, outer = self._resolved(raw, path, outer)
        out: Schema = {}
        for key, value in raw.items():
            if key in _KEPT or key.startswith(_EXTENSION):
                out[key] = value
            elif key == "properties":
                out[key] = {name: self.node(field, f"{path}.{name}", outer) for name, field in value.items()}
            elif key == "items":
                out[key] = self.node(value, f"{path}[]", outer)
            elif key == "default":
                self._set_default(out, raw, path)
            elif key == "additionalProperties":
                # False is what the API server does by itself: it prunes, or refuses under strict validation.
                if value is True:
                    out["x-kubernetes-preserve-unknown-fields"] = True
                elif value is not False:
                    raise SchemaError(f"{path}: a map of one type is not translated")
            elif key != "title":
                raise SchemaError(f"{path}: {key} is not translated")
        if "type" not in out:
            raise SchemaError(f"{path}: has no type")
        return out

    def _resolved(self, raw: Schema, path: str, outer: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """`raw` with `X | None` as X and references as what they name; keys beside a reference go before its own."""
        raw = dict(raw)
        if "anyOf" in raw:
            given = [choice for choice in raw.pop("anyOf") if choice != {"type": "null"}]
            if len(given) != 1:
                raise SchemaError(f"{path}: a union is not translated")
            raw = {**given[0], **raw}
        if "$ref" in raw:
            name = raw.pop("$ref").removeprefix("#/$defs/")
            if name in outer:
                raise SchemaError(f"{path}: {name} contains itself")
            raw, outer = {**self._definitions[name], **raw}, (*outer, name)
        return raw, outer

    def _set_default(self, out: Schema, raw: Schema, path: str) -> None:
        default = raw["default"]
        if not self._defaulted or default is None:
            return
        if "properties" in raw:
            # An object that is given in part gets the defaults of its fields. Another default here would hold only
            # while the object is absent altogether, which nobody expects.
            own = {name: field["default"] for name, field in raw["properties"].items() if "default" in field}
            if default != own:
                raise SchemaError(
                    f"{path}: its default {default} is not what its fields' own defaults give: {own}"
                )
        # In full, though `{}` would be filled all the same: the CEL rules must hold for a default as it is written.
        out["default"] = _without_nulls(default)


def _without_nulls(value: Any) -> Any:
    """Fields that are None are simply absent on the API server."""
    if isinstance(value, dict):
        return {key: _without_nulls(value[key]) for key in sorted(value) if value[key] is not None}
    return value

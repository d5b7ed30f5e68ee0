"""Errors as OpenAI's API and vLLM write them."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from aiohttp import web

_TYPES = {
    HTTPStatus.BAD_REQUEST: "BadRequestError",
    HTTPStatus.NOT_FOUND: "NotFoundError",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "BadRequestError",
    HTTPStatus.BAD_GATEWAY: "BadGatewayError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableError",
    HTTPStatus.GATEWAY_TIMEOUT: "GatewayTimeoutError",
}


class ClientFault(Exception):
    """A request that the router refuses itself. The message is one line, for the client."""

    def __init__(self, status: HTTPStatus, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


def error_body(status: HTTPStatus, message: str, param: str | None = None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`."""
    kind = _TYPES.get(status, "InternalServerError")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": int(status)}})


def error_response(status: HTTPStatus, message: str, param: str | None = None) -> web.Response:
    """An answer with such a body; 503 asks to come back in a second."""
    headers = {"Retry-After": "1"} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    body = error_body(status, message, param)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def error_event(status: HTTPStatus, message: str) -> bytes:
    """The same as the last event of a stream that had begun."""
    return b"data: " + error_body(status, message) + b"\n\n"

"""Logging in to the API server: the pod's service account where there is one, else KUBECONFIG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aiohttp import ClientTimeout
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.incluster_config import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    load_incluster_config,
)

from pdoperator.api import defaults


class LimitedApiClient(ApiClient):
    """An ApiClient whose calls have a short time limit unless they bring their own (the library's is 300 s)."""

    async def call_api(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["_request_timeout"] = kwargs.get("_request_timeout") or ClientTimeout(
            total=defaults.API_TIMEOUT_S
        )
        return await super().call_api(*args, **kwargs)


async def api_client() -> ApiClient:
    """A client of the cluster this process runs in or KUBECONFIG names; the caller closes it.

    A service account's token is read again as it is rotated. Raises kubernetes' ConfigException when neither exists.
    """
    configuration = Configuration()
    if os.environ.get(SERVICE_HOST_ENV_NAME) and _in_pod():
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    else:
        # The library reads the variable once, on import; read it now.
        path = os.environ.get("KUBECONFIG", kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            path, client_configuration=configuration, persist_config=False
        )
    return LimitedApiClient(configuration)


def _in_pod() -> bool:
    return Path(SERVICE_TOKEN_FILENAME).exists()

"""How this machine reaches its package index, handed to an image build without being written into the image."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Where the Dockerfile mounts the certificates; it names the same path.
CERTIFICATES_IN_BUILD = "/run/pd-operator-ca.pem"
_PASSED_ON = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def pip_secrets(folder: Path) -> dict[str, Path]:
    """The Dockerfile's secrets as files, where this machine has any: `pip`, written to `folder`, and `ca`."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60
    ).stdout
    options = pip_options(listed)
    certificates = options.pop("cert", None) or next(
        (os.environ[name] for name in _CERTIFICATE_VARIABLES if os.environ.get(name)), None
    )
    secrets: dict[str, Path] = {}
    if certificates and Path(certificates).is_file():
        options["cert"] = CERTIFICATES_IN_BUILD
        secrets["ca"] = Path(certificates)
    if options:
        secrets["pip"] = folder / "pip.conf"
        secrets["pip"].write_text(pip_conf(options))
    return secrets


def pip_options(listed: str) -> dict[str, str]:
    """The options of `pip config list` that a build elsewhere needs too; the environment's go before the files'."""
    found: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in (*_PASSED_ON, "cert"):
            found[option.removeprefix("default-")] = str(ast.literal_eval(value))
    return found


def pip_conf(options: Mapping[str, str]) -> str:
    # A value of several lines is a list; its later lines must be indented.
    lines = [
        f"{name} = {value.strip().replace(chr(10), chr(10) + '    ')}" for name, value in options.items()
    ]
    return "\n".join(["[global]", *lines, ""])

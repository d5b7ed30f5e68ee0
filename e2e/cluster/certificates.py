"""A throw-away certificate authority, made with the `openssl` program (3.0 or newer)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DAYS = "365"


@dataclass(frozen=True)
class Authority:
    """Certificates of one cluster, as files `NAME.crt` and `NAME.key` in `folder`; what exists is kept."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not self.certificate.exists():
            self._request(
                "ca", "/CN=pd-operator-cluster", ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
            )
        key = self.folder / "service-accounts.key"
        if not key.exists():
            _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
            _openssl("pkey", "-in", str(key), "-pubout", "-out", str(key.with_suffix(".pub")))

    def client(self, name: str, user: str, group: str = "") -> tuple[Path, Path]:
        """Certificate and key for an API user."""
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        return self._issue(name, subject, ["-addext", "extendedKeyUsage=clientAuth"])

    def server(self, name: str, hosts: Sequence[str], addresses: Sequence[str]) -> tuple[Path, Path]:
        """Certificate and key for a server reached under any of these names and addresses."""
        names = ",".join([*(f"DNS:{host}" for host in hosts), *(f"IP:{address}" for address in addresses)])
        extensions = ["-addext", "extendedKeyUsage=serverAuth", "-addext", f"subjectAltName={names}"]
        return self._issue(name, f"/CN={name}", extensions)

    def _issue(self, name: str, subject: str, extensions: list[str]) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        if not certificate.exists():
            signing = ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")]
            leaf = ["-addext", "basicConstraints=critical,CA:FALSE"]
            self._request(name, subject, [*signing, *leaf, *extensions])
        return certificate, key

    def _request(self, name: str, subject: str, more: list[str]) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", _DAYS]
        files = ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.crt")]
        _openssl("req", "-x509", *curve, *files, "-subj", subject, *more)


def _openssl(*arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr.strip()[-800:]}")

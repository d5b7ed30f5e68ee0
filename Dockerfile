# syntax=docker/dockerfile:1
# The one image of operator (pd-operator), router (pd-router) and simulated engine (pd-sim-engine).
#
# BASE is any Debian-like image. The default brings its own Python; a bare Debian gets one here; a base that is made
# on the spot (e2e/cluster/images.py) has it already, so that such a build needs no package mirror.
# The secrets `pip` (a pip.conf) and `ca` (certificates) are optional: how this machine reaches a package index.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS base
RUN command -v python3 >/dev/null \
 || { apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*; }

# Changes with the locked requirements only.
FROM base AS dependencies
COPY requirements/runtime.txt /build/runtime.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/pd-operator-ca.pem \
    python3 -m venv /opt/pd-operator/venv \
 && /opt/pd-operator/venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /build/runtime.txt \
 && echo /opt/pd-operator/app > "$(echo /opt/pd-operator/venv/lib/python3.*/site-packages)/pd-operator.pth"

FROM dependencies AS package
COPY requirements/build.txt /build/build.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/pd-operator-ca.pem \
    /opt/pd-operator/venv/bin/pip install --no-cache-dir --require-hashes -r /build/build.txt
COPY pyproject.toml README.md /build/
COPY operator /build/operator
RUN cd /build && /opt/pd-operator/venv/bin/pip install --no-index --no-deps --no-build-isolation --target /app .

# Continues `dependencies` rather than copying from it: nothing there is of the build only, and a copy of that size
# would have to be compared file by file in every build.
FROM dependencies
# USER: libraries ask for a name, and whatever user id a cluster gives has none.
ENV PATH=/opt/pd-operator/app/bin:/opt/pd-operator/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp USER=pd-operator PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
# The last layer is the only one that a change of our own code renews.
COPY --from=package /app /opt/pd-operator/app
CMD ["pd-operator"]

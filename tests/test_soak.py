"""A crowd on the shipped models for minutes: every answer right, memory flat, no file left.

python -m pytest -n 0 -m soak tests/test_soak.py -s
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from programs import free_port

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 20
SECONDS = 120  # of the crowd
WARM_UP = 500  # texts and views, after which what is kept of texts is full
TEXTS = VIEWS = 500  # after that
MOST_MB = 1300
GROWTH = 0.05  # of the memory after the warm-up
PROMPTS = (
    "The president said",
    "Monday, Tuesday,",
    "",
    "Oil prices climb as traders fear a cut in supply",
    'He said "It is late',
    "The cat sat on the mat. " * 60,
    "In 1999 the company sold its shares, and in 2004 it",
    "Microsoft unveils a new version of its search engine; rivals wait. " * 20,
)


class Site:
    """app.py, started on a port of its own, and what a page or a program asks of it."""

    def __init__(self, directory, port, log, process):
        self.directory, self.log, self.process = directory, log, process
        everyone = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300, limits=everyone)
        end = time.monotonic() + 90
        while "Open " not in self.said():
            assert process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)
        config = self.http.get("/config").json()
        parts = {one["id"]: one for one in config["components"]}
        self.views = {  # the event that draws each, by its id on the page
            parts[target]["props"]["elem_id"]: event["id"]
            for event in config["dependencies"]
            for target, name in event["targets"]
            if name == "draw"
        }

    def said(self):
        return self.log.read_text()

    def call(self, name, **values):
        """An endpoint's answer, or the words that refused it."""
        sent = self.http.post(f"/gradio_api/call/v2/{name}", json=values)
        if sent.status_code != 200:
            return {"refused": sent.status_code}
        text = self.http.get(f"/gradio_api/call/{name}/{sent.json()['event_id']}").text
        event, data = text.strip().split("\n\n")[-1].split("\n", 1)
        assert event == "event: complete", text[-500:]
        return json.loads(data.removeprefix("data: "))[0]

    def view(self, name, text):
        """What the page gets of a view in the end."""
        session = f"{random.getrandbits(64):x}"
        asked = {"key": "k", "text": text, "look": {"width": 700, "token": len(text["ids"]) - 1}}
        body = {"data": [asked], "fn_index": self.views[name], "session_hash": session}
        assert self.http.post("/gradio_api/queue/join", json=body).status_code == 200
        text = self.http.get("/gradio_api/queue/data", params={"session_hash": session}).text
        messages = [json.loads(line[6:]) for line in text.strip().split("\n\n")]
        (last,) = [one for one in messages if one["msg"] == "process_completed"]
        assert last["success"], last
        return last["output"]["data"][0]

    def megabytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    above, port = tmp_path_factory.mktemp("soak"), free_port()
    directory, log = above / "files", above / "log"
    directory.mkdir()
    command = [sys.executable, ROOT / "app.py", "--port", str(port)]
    env = os.environ | {"TMPDIR": str(directory), "GRADIO_TEMP_DIR": str(directory / "gradio")}
    with (
        open(log, "w") as output,
        subprocess.Popen(command, env=env, stdout=output, stderr=output) as process,
    ):
        try:
            made = Site(directory, port, log, process)
            yield made
            made.http.close()
        finally:
            process.terminate()


def text_of(answer):
    """The record that a page keeps of a completion."""
    ids = [*answer["prompt_ids"], *(token["id"] for token in answer["tokens"])]
    settings = {"temperature": 0.8, "top_k": 50, "seed": answer["seed"], "max_new_tokens": 200}
    known = {"model": answer["model"], "prompt": answer["prompt"], "chosen": []}
    return known | {"settings": settings, "ids": ids, "prompt_length": len(answer["prompt_ids"])}


def news_of(site, news):
    """The same of a news text."""
    ids = [token["id"] for token in site.call("score", text=news)["tokens"]]
    model = site.call("classify", text=news)["model"]
    known = {"model": model, "prompt": news, "chosen": [], "settings": {}}
    return known | {"ids": ids, "prompt_length": len(ids)}


def questions(site):
    """All that a crowd asks, as functions of no argument, by name."""
    asked = {}

    def add(name, function, *args, **values):
        asked[name] = lambda: function(*args, **values)

    for seed, prompt in enumerate(PROMPTS * 2):
        more = {"prompt": prompt, "seed": seed, "max_new_tokens": 10 + 7 * seed}
        add(f"generate {seed}", site.call, "generate", **more)
        if seed >= 4:
            continue
        text = {"text": prompt[:300] or "a b"}
        for name in ("score", "attention", "classify", "lens", "ablate", "attribute"):
            add(f"{name} {seed}", site.call, name, **text)
        answer = site.call("generate", prompt=prompt[:300], seed=seed, max_new_tokens=40)
        ids = [*answer["prompt_ids"], *(token["id"] for token in answer["tokens"])]
        more = {"prompt": prompt[:300], "seed": seed, "max_new_tokens": 40}
        place = len(answer["prompt_ids"]) + 5
        add(f"branch {seed}", site.call, "branch", ids=ids, position=place, token=262, **more)
        records = {"generate": text_of(answer), "classify": news_of(site, text["text"])}
        for view in site.views:
            add(f"{view} {seed}", site.view, view, records[view.split("-")[0]])
    add("models", site.call, "models")
    return asked


def difference(found, wanted):
    """What two answers differ in, briefly."""
    if not isinstance(found, dict):
        return "the view"
    names = [name for name in wanted if found.get(name) != wanted[name]]
    return {name: str(found.get(name))[:60] for name in names}


def files(directory):
    return sorted(str(path) for path in directory.rglob("*") if path.is_file())


def test_a_crowd_gets_the_answers_of_single_users(site):
    asked = questions(site)
    alone = {name: ask() for name, ask in asked.items()}
    before, log = files(site.directory), site.said()
    end, seconds, memory = time.monotonic() + SECONDS, {}, []
    wrong, late, refused, lock = [], [], Counter(), threading.Lock()

    def client(number):
        dice = random.Random(number)
        while time.monotonic() < end:
            name = dice.choice(list(asked))
            begun = time.monotonic()
            found = asked[name]()
            with lock:
                kind = name.rsplit(" ", 1)[0]
                seconds.setdefault(kind, []).append(time.monotonic() - begun)
                memory.append(site.megabytes())
                if isinstance(found, dict) and "refused" in found:
                    refused[found["refused"]] += 1
                elif isinstance(found, dict) and found.get("finish_reason") == "deadline":
                    late.append(name)  # on a machine that is busy otherwise
                    assert alone[name]["completion"].startswith(found["completion"])
                elif found != alone[name]:
                    wrong.append((name, difference(found, alone[name])))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    count = sum(map(len, seconds.values()))
    print(
        f"\n{CLIENTS} clients, {SECONDS} s: {count} answers, {len(wrong)} wrong, {len(late)} late"
    )
    print(f"refused: {dict(refused)}")
    print(f"memory {max(memory):.0f} MB at most, {site.megabytes():.0f} MB at the end")
    for kind, times in sorted(seconds.items()):
        print(f"{kind:20} {len(times):5} median {statistics.median(times):.2f} s {max(times):.2f}")
    assert wrong == []
    assert max(memory) < MOST_MB
    assert files(site.directory) == before
    assert site.said() == log


def test_memory_is_flat_over_500_texts_and_500_views(site):
    views, number = sorted(site.views), iter(range(10**6))

    def text_and_view(_):
        """Texts of 3 to 600 tokens, and of each the next view."""
        seed = next(number)
        prompt = PROMPTS[seed % 5 if seed % 10 else 5]
        count = random.Random(seed).randrange(3, 40)
        answer = site.call("generate", prompt=prompt, seed=seed, max_new_tokens=count)
        view = views[seed % len(views)]
        if view.startswith("classify"):
            site.view(view, news_of(site, f"{PROMPTS[3]} {seed}"))
        else:
            site.view(view, text_of(answer))

    def megabytes_after(count):
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(text_and_view, range(count)))
        time.sleep(12)  # what is trimmed is trimmed by then
        return site.megabytes()

    warm = megabytes_after(WARM_UP)
    later = [megabytes_after(TEXTS // 2) for _ in range(2)]
    print(f"\nMB after {WARM_UP} texts and views {warm:.0f}, then after each {TEXTS // 2} {later}")
    assert later[-1] < (1 + GROWTH) * warm
    assert max(later) < MOST_MB

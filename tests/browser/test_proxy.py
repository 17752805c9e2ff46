"""The page behind a reverse proxy under a path of its own, by the very lines of the README."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import steps
from gradio_client import Client
from programs import free_port
from test_app import APP, until_open

README = (APP.parent / "README.md").read_text()
# What stands around the README's lines, and the command that serves it.
AROUND = {
    "nginx": (
        "daemon off; pid {here}/pid; error_log {here}/log;\n"
        "events {{}}\nhttp {{ access_log off; client_body_temp_path {here}/body;\n"
        "proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;\n"
        "uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n"
        "server {{ listen 127.0.0.1:{port};\n{lines}}} }}\n",
        ["nginx", "-c"],
    ),
    "caddy": (
        "{{\nadmin off\nauto_https off\n}}\nhttp://127.0.0.1:{port} {{\n{lines}}}\n",
        ["caddy", "run", "--adapter", "caddyfile", "--config"],
    ),
}


@pytest.fixture(scope="module")
def page(starter, model_directory, classifier_directory):
    """The port of a page that knows that it is served under /gpt2."""
    port = free_port()
    flags = ["--port", port, "--model", model_directory, "--classifier", classifier_directory]
    flags += ["--root-path", "/gpt2", "--trusted-proxy", "127.0.0.1"]
    command = [sys.executable, str(APP), *map(str, flags)]
    process = starter.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until_open(process, port)
    yield port
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


@pytest.fixture(scope="module", params=AROUND)
def address(request, page, tmp_path_factory):
    """Where a proxy serves the page."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed here")
    around, command = AROUND[request.param]
    (lines,) = re.findall(rf"```{request.param}\n(.*?)```", README, re.S)
    here, port = tmp_path_factory.mktemp("proxy"), free_port()
    lines = lines.replace("7860", str(page))
    Path(here, "config").write_text(around.format(here=here, port=port, lines=lines))
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, str(here / "config")], **options) as process:
        url, end = f"http://127.0.0.1:{port}/gpt2/", time.monotonic() + 20
        while True:
            try:
                httpx.get(f"{url}health", timeout=5)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        yield url
        process.terminate()


def test_a_program_calls_through_a_proxy(address):
    client = Client(address, verbose=False)
    answer = client.predict("It rains", api_name="/generate", max_new_tokens=5)
    assert answer["finish_reason"]


@pytest.mark.browser
def test_a_visitor_writes_through_a_proxy(address, browser):
    """The page called the address above its own, and nothing came."""
    page = browser.new_page()
    failed = []
    page.on("response", lambda found: failed.append(found.url) if found.status >= 400 else None)
    page.goto(address)
    steps.generate(page, "It rains", settings={"New tokens": 5})
    assert steps.completion(page)
    page.close()
    assert [url for url in failed if "/gradio_api/" in url] == []

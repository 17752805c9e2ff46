"""The page in a frame of another site, over https, as a Space stands on huggingface.co."""

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import gradio
import pytest
import steps
from playwright.sync_api import expect
from programs import free_port
from test_app import APP, until_open

pytestmark = pytest.mark.browser

USER, PASSWORD = "ann", "open sesame"
HTTPS = """{{
admin off
skip_install_trust
auto_https disable_redirects
storage file_system {here}
}}
https://page.localhost:{port} {{
tls internal
reverse_proxy 127.0.0.1:{page}
}}
"""
# As there: what the frame may do, and the height that it is given (github.com/davidjbradshaw/
# iframe-resizer, of which the page has the other half).
OUTSIDE = """<!doctype html><title>Outside</title>
<iframe id="shown" src="{url}" width="1200" height="300" allow="clipboard-write" sandbox="
    allow-downloads allow-forms allow-modals allow-pointer-lock allow-popups allow-same-origin
    allow-popups-to-escape-sandbox allow-scripts allow-storage-access-by-user-activation"></iframe>
<script>
const words = "8:false:true:32:true:true:null:bodyOffset:null:null:0:false:parent:scroll";
const ask = () => shown.contentWindow.postMessage(`[iFrameSizer]shown:${{words}}`, "*");
addEventListener("message", (told) => {{
    const [name, height] = String(told.data).replace("[iFrameSizer]", "").split(":");
    if (name === "shown" && Number(height)) shown.style.height = `${{height}}px`;
}});
</script>"""


@pytest.fixture
def address(starter, model_directory, classifier_directory, tmp_path_factory):
    """Where a page that asks for a password is served over https."""
    if not shutil.which("caddy"):
        pytest.skip("caddy is not installed here")
    page, port, here = free_port(), free_port(), tmp_path_factory.mktemp("https")
    flags = ["--port", page, "--model", model_directory, "--classifier", classifier_directory]
    flags += ["--auth", f"{USER}:{PASSWORD}", "--trusted-proxy", "127.0.0.1"]
    command = [sys.executable, str(APP), *map(str, flags)]
    process = starter.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    (here / "config").write_text(HTTPS.format(here=here, port=port, page=page))
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(here / "config")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as caddy:
        until_open(process, page, shows="Password")
        yield f"https://page.localhost:{port}"
        caddy.terminate()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


@contextmanager
def another_site(html):
    """The address of a page of another site, which has Gradio's component beside it."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        log_message = partial(lambda *_: None)

    serve = partial(Handler, directory=Path(gradio.__file__).with_name("templates") / "frontend")
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://outside.localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def framed(url):
    """The address of another site's page, which shows one in a frame."""
    return another_site(OUTSIDE.format(url=url))


@contextmanager
def looked_into(browser, url):
    """A page in such a frame, as a visitor has it; nothing may go wrong there."""
    context = browser.new_context(ignore_https_errors=True)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda told: wrong.append(told.url) if told.status >= 400 else None)
    with framed(url) as outside:
        page.goto(outside)
        (frame,) = page.main_frame.child_frames
        yield frame
        context.close()
    assert wrong == []


@pytest.mark.soak
def test_in_another_sites_frame_one_signs_in(browser, address):
    """The browser kept no cookie there: the form came back without a word, whatever was typed.

    pytest -n 0 -m soak tests/browser/test_frames.py; tests/ui/test_sign_in.py looks at the cookies.
    """
    with looked_into(browser, address) as frame:
        frame.get_by_label("Name").fill(USER)
        frame.get_by_label("Password").fill(PASSWORD)
        frame.get_by_label("Password").press("Enter")
        steps.generate(frame, "The rain", settings={"New tokens": 8})
        assert steps.completion(frame)


def test_in_another_sites_frame_the_page_has_room_and_obeys_the_keyboard(browser, page_server):
    with looked_into(browser, page_server.url.replace("127.0.0.1", "page.localhost")) as frame:
        frame.get_by_role("button", name="Generate", exact=True).wait_for()
        frame.parent_frame.evaluate("ask()")
        with page_server.slowed(0.1):
            steps.generate(frame, "The sun", wait=False)
            frame.get_by_role("button", name="Stop", exact=True).press("Enter")
            expect(steps.status(frame)).to_contain_text("stopped: by you")
        frame.wait_for_function("location.hash.startsWith('#v=1.generate.')")
        whole = "innerHeight > 500 && document.documentElement.scrollHeight <= innerHeight + 1"
        frame.wait_for_function(whole)


@pytest.mark.soak
def test_gradios_element_in_another_sites_page_shows_a_frame(browser, page_server):
    """It showed the parts of the page, which did nothing: their script was not there."""
    url = page_server.url.replace("127.0.0.1", "page.localhost")
    html = f'<script type="module" src="gradio.js"></script><gradio-app src="{url}"></gradio-app>'
    page = browser.new_page()
    with another_site(html) as outside:
        page.goto(outside)
        frame = page.locator("iframe[title='GPT-2, from scratch']").element_handle().content_frame()
        steps.generate(frame, "The rain", settings={"New tokens": 8})
        assert steps.completion(frame)
        page.close()

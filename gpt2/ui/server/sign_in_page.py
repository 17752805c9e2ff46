"""The page that asks for a name and a password; it needs no script and nothing from elsewhere."""

from html import escape

from starlette.responses import HTMLResponse

STYLE = """:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; }
form { display: grid; gap: .75rem; width: min(20rem, 90vw); }
h1 { font-size: 1.25rem; margin: 0; }
label { display: grid; gap: .25rem; }
input, button { font: inherit; padding: .5rem; }
p { margin: 0; }"""


def sign_in_page(said: str = "", status: int = 200) -> HTMLResponse:
    """The form.

    Args:
        said: why it is shown again.
    """
    words = f'<p role="alert">{escape(said[:1].upper() + said[1:])}.</p>' if said else ""
    html = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in to GPT-2, from scratch</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><main><form method="post" action="./login"><h1>GPT-2, from scratch</h1>{words}
<label>Name <input name="username" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required>
</label><button>Sign in</button></form></main></body></html>"""
    return HTMLResponse(html, status, {"cache-control": "no-store"})

"""All routes of the page, Gradio's too."""

import re

from gpt2.ui import build_app, launch_options


def routes_of(engine):
    """(method, path) of every route, as the page is launched."""
    from gradio.routes import App

    options = launch_options()["app_kwargs"]
    return {*_walked(App.create_app(build_app(engine), app_kwargs=dict(options)).routes)}


def _walked(routes):
    for route in routes:
        for method in getattr(route, "methods", None) or ():
            yield method, route.path
        inner = getattr(route, "original_router", None)
        yield from _walked(inner.routes if inner else getattr(route, "routes", None) or ())


def filled(path):
    """An address of a route with something in its places."""
    return re.sub(r"{[^}]*}", "1", path).lstrip("/")

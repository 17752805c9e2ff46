"""A news text as it is read: checked, classified, and sent to the page line by line."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from gpt2.engine import Engine
from gpt2.figures import counted, percent
from gpt2.records import Verdict
from gpt2.ui.copying import copy_row
from gpt2.ui.generate.chips import end_of
from gpt2.ui.generate.lines import end_line, news_line, read_line, refused_line
from gpt2.ui.link import Link, made_with, read_link, verdict
from gpt2.ui.page import ERRORS, Page, template
from gpt2.ui.presets import Preset
from gpt2.ui.record import Asked, moment_of

STRIP = """
<p class="status" id="classify-status" role="status">Nothing classified yet.</p>
<div class="strip-place"><div class="strip" id="classify-strip" role="listbox"
aria-label="The tokens that were read" translate="no"></div></div>
<p class="legend"></p>
"""


class Reading:
    """The part of the page that shows a news text token by token."""

    def __init__(self, page: Page) -> None:
        self.engine = page.engine
        self.strip = gr.HTML(
            html_template=template(STRIP + copy_row(self.engine.catalog.classifiers[0])),
            # Gradio looks for the names of events in here.
            js_on_load="""const events = ["wanted", "fill"];
            gpt2.strip(element, watch, props, trigger, "classify")""",
            apply_default_css=False,
            elem_id="classify-text",
        )

    def read(
        self,
        news: object,
        classifier: object,
        raw: object,
        *,
        preset: Preset | None = None,
        link: Link | None = None,
    ) -> dict[gr.HTML, str]:
        """The lines of a text; one that is refused leaves the old text there.

        Args:
            news: the text.
            classifier: a name in the catalog, empty for the first.
            raw: what the page sent of itself.
            preset: that it is, and says where to look.
            link: that asks for it, and says so too.
        """
        moment = moment_of(raw)
        try:
            return {self.strip: "".join(self._lines(news, classifier, moment, preset, link))}
        except ERRORS as error:
            return self.refused(error, raw)

    def refused(self, error: Exception, raw: object) -> dict[gr.HTML, str]:
        """Why a text can't be had."""
        return {self.strip: refused_line(str(error), moment_of(raw))}

    def read_linked(self, fragment: object, raw: object) -> dict[gr.HTML, str]:
        """The lines of a text that a link asks for."""
        try:
            link = read_link(fragment, self.engine)
            if link.tab != "classify":
                raise ValueError("this link is of the other tab; load the page again")
        except ERRORS as error:
            return self.refused(error, raw)
        return self.read(link.request.prompt, link.request.model, raw, link=link)

    def _lines(
        self,
        news: object,
        classifier: object,
        moment: int,
        preset: Preset | None,
        link: Link | None,
    ) -> Iterator[str]:
        news = "" if news is None else news
        if not isinstance(news, str) or not isinstance(classifier, str | None):
            raise ValueError("the news text is no text; load the page again")
        found = self.engine.inspector.classify(news, classifier=classifier or "")
        yield news_line(self.engine, found, news, moment)
        yield read_line(found)
        leaders = found.per_token.argmax(axis=1).tolist()
        more: dict[str, Any] = {"selected": len(found.ids) - 1}
        if preset is not None:
            more |= end_of(preset, self.engine, found)
        if link is not None:
            here, place = made_with(self.engine, found.model), link.look.get("token")
            more |= {"verdict": verdict(link, leaders, here), "look": dict(link.look)}
            if place is not None:
                more["selected"] = min(place, more["selected"])
        yield end_line(status(found), completion=news, ids=leaders, **more)


def status(found: Verdict) -> str:
    """The line about a text that was read."""
    count = len(found.ids)
    words = [counted(count, "token"), found.model]
    if found.truncated:
        words[0] = (
            f"the first {count:,} of {count + found.truncated:,} tokens were read, as many as "
            "this classifier was trained on"
        )
    return " · ".join([f"{found.label} {percent(float(found.probs.max()))}", *words])


def verdict_of(engine: Engine, asked: Asked) -> Verdict:
    """What a classifier says of the text on the page, read anew.

    Raises:
        ValueError: the text's tokens are not those that the page shows.
    """
    found = engine.inspector.classify(asked.text.request.prompt, classifier=asked.model)
    if found.ids != asked.ids:
        raise ValueError(
            f"the text on the page is no longer what {asked.model} reads; classify it again"
        )
    return found

"""HTML as a browser would see it."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """The tags, attributes and text that a browser would see."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data

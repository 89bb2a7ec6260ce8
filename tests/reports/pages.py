"""What tests look at in a page: its elements by an HTML parser that allows no slip, and what it would load."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}
LOADING = ("src", "href", "srcset", "data", "poster", "action", "xlink:href")


@dataclass
class Element:
    name: str
    attributes: dict[str, str]
    words: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text within, in order, spaces made one."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> list[str]:
        parts = [self.words[0]] if self.words else []
        for child, behind in zip(self.children, self.words[1:], strict=True):
            parts += [*child._texts(), behind]
        return parts

    def all(self, name: str, **attributes: str) -> list[Element]:
        """The elements within of this name and with these attributes."""
        found = []
        for each in self.children:
            if each.name == name and all(each.attributes.get(key) == value for key, value in attributes.items()):
                found.append(each)
            found += each.all(name, **attributes)
        return found


class _Parser(HTMLParser):
    """Raises AssertionError for an element that is not closed, or closed twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {}, [""])
        self.open = [self.root]

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"an attribute of {tag} twice"
        element = Element(tag, {name: value or "" for name, value in attributes}, [""])
        self.open[-1].children.append(element)
        self.open[-1].words.append("")
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].words[-1] += data


def parse(page: str) -> Element:
    """The page's root element. Raises AssertionError where it is not well formed."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == [parser.root], f"<{parser.open[-1].name}> is not closed"
    return parser.root


def loaded(element: Element) -> list[str]:
    """Every address that a browser might load, but for places within the page."""
    own = [value for key, value in element.attributes.items() if key in LOADING and not value.startswith("#")]
    return own + [each for child in element.children for each in loaded(child)]

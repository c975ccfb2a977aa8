"""HTML of other authors read as a tree; its pictures stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_PICTURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_LEFT_OUT = re.compile(r"<(style|script)\b.*?</\1>", re.DOTALL)
_VOID = frozenset({"input", "br", "hr", "img", "meta", "picture-at"})


@dataclass
class Node:
    """An element: its tag, its attributes, and what is in it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[Node | str] = field(default_factory=list)

    @property
    def names(self) -> frozenset[str]:
        """Its classes."""
        return frozenset(self.attributes.get("class", "").split())

    @property
    def text(self) -> str:
        """Its words, in one line.

        >>> parse("<p>One <b>two</b>: <small>three</small></p>").text
        'One two: three'
        """
        joined = " ".join(" ".join(self._words()).replace("\u00a0", " ").split())
        return re.sub(r" (?=[:;,])", "", joined)

    @property
    def lines(self) -> list[str]:
        """Its words, those in small type each on a line of their own.

        >>> parse("<th><bdi>Acme</bdi><small>usage fell</small></th>").elements[0].lines
        ['Acme', 'usage fell']
        """
        small = [part.text for part in self.elements if part.tag == "small"]
        rest = Node(
            self.tag,
            {},
            [part for part in self.parts if isinstance(part, str) or part.tag != "small"],
        )
        return [line for line in (rest.text, *small) if line]

    def _words(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part._words()

    def all(self, tag: str) -> list[Node]:
        """The elements of a tag within it, in order; not those within one of them."""
        matches = []
        for part in self.elements:
            matches += [part] if part.tag == tag else part.all(tag)
        return matches

    @property
    def elements(self) -> list[Node]:
        """The elements directly in it."""
        return [part for part in self.parts if isinstance(part, Node)]


def parse(piece: str) -> Node:
    """A piece of a page as a tree; a picture is an element ``svg`` with its whole text in it."""
    pictures: list[str] = []

    def replace(match: re.Match[str]) -> str:
        pictures.append(match.group())
        return f'<picture-at number="{len(pictures) - 1}">'

    reader = _NodeReader(pictures)
    reader.feed(_PICTURE.sub(replace, _LEFT_OUT.sub("", piece)))
    reader.close()
    return reader.root


class _NodeReader(HTMLParser):
    def __init__(self, pictures: list[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("piece")
        self._open, self._pictures = [self.root], pictures

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "picture-at":
            node = Node("svg", {"whole": self._pictures[int(values["number"])]})
        else:
            node = Node(tag, values)
        self._open[-1].parts.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if any(node.tag == tag for node in self._open[1:]):
            while self._open.pop().tag != tag:
                continue

    def handle_data(self, data: str) -> None:
        self._open[-1].parts.append(data)

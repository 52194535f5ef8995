"""Checks the links of the documentation that `cargo doc` wrote: those within it lead to a
file that is there.

    python3 docs/links.py target/doc

Ends with 1, and names them, if some do not.
"""

import html.parser
import pathlib
import sys
import urllib.parse


class Links(html.parser.HTMLParser):
    """The links of one page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.found += [value for name, value in attributes if name == "href" and value]


def main():
    root = pathlib.Path(sys.argv[1])
    pages = list(root.glob("hugepool*/**/*.html"))
    if not pages:
        sys.exit(f"{root}: no documentation of hugepool is there")
    dead = {}
    for page in pages:
        for link in Links(page).found:
            parts = urllib.parse.urlsplit(link)
            # What is re-exported of the standard library, or implemented for all types by
            # another crate, brings that one's own links.
            foreign = {"std", "core", "nomicon"} & set(parts.path.split("/")) or "::" in link
            if parts.scheme or not parts.path or foreign:
                continue
            to = page.parent / urllib.parse.unquote(parts.path)
            if not (to / "index.html" if to.is_dir() else to).exists():
                dead.setdefault(link, page)
    for link, page in sorted(dead.items()):
        print(f"{page}: {link} leads nowhere", file=sys.stderr)
    print(f"{len(pages)} pages, {len(dead)} dead links")
    sys.exit(1 if dead else 0)


if __name__ == "__main__":
    main()

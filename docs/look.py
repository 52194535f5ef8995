#!/usr/bin/env python3
"""Shows the page of `hugepool bench --html` as a browser does: wide and narrow, light and dark,
and as it is printed.

    python3 docs/look.py FOLDER PAGE.html...

writes PAGE-1280-light.png and the like, and PAGE.pdf, into FOLDER. It ends with 1 if a page can
be moved sideways as a whole, has words that cover each other in its pictures' labels, or asks
for anything but itself. Takes Chromium from the machine (`apt-get install chromium`) and installs
Playwright, which drives it, into a temporary folder that it keeps.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

PLAYWRIGHT = pathlib.Path(tempfile.gettempdir(), "hugepool-playwright")

# Pairs of labels in one picture that touch, and whether the page is wider than its window.
CHECK = """() => {
  const touching = [];
  for (const svg of document.querySelectorAll("svg")) {
    const boxes = [...svg.querySelectorAll("text")].map((it) => [it.getBoundingClientRect(), it.textContent]);
    for (let a = 0; a < boxes.length; a++)
      for (let b = a + 1; b < boxes.length; b++) {
        const [one, two] = [boxes[a][0], boxes[b][0]];
        if (one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom)
          touching.push(boxes[a][1] + " and " + boxes[b][1]);
      }
  }
  const page = document.documentElement;
  return { touching: [...new Set(touching)], width: page.scrollWidth, room: page.clientWidth };
}"""


def browser():
    found = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if not found:
        sys.exit("no Chromium: apt-get install -y --no-install-recommends chromium")
    if not PLAYWRIGHT.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", PLAYWRIGHT, "playwright"]
        subprocess.run(command, check=True)
    sys.path.insert(0, str(PLAYWRIGHT))
    return found


def look(chromium, page, folder):
    """Takes the pictures of one page: what is wrong with it."""
    wrong = []
    for width in [1280, 360]:
        for scheme in ["light", "dark"]:
            view = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            asked = []
            view.on("request", lambda request: asked.append(request.url))
            view.goto(page.resolve().as_uri())
            found = view.evaluate(CHECK)
            if found["width"] > found["room"]:
                wrong.append(f"{width}: the page is {found['width']} wide")
            wrong += [f"{width}: {pair} cover each other" for pair in found["touching"]]
            wrong += [f"asks for {url}" for url in asked[1:]]
            view.screenshot(path=folder / f"{page.stem}-{width}-{scheme}.png", full_page=True)
            if (width, scheme) == (1280, "light"):
                view.pdf(path=folder / f"{page.stem}.pdf", prefer_css_page_size=True)
            view.close()
    return wrong


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    found = browser()
    from playwright.sync_api import sync_playwright

    folder, pages = pathlib.Path(sys.argv[1]), map(pathlib.Path, sys.argv[2:])
    folder.mkdir(parents=True, exist_ok=True)
    failed = False
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for page in pages:
            for wrong in dict.fromkeys(look(chromium, page, folder)):
                failed = True
                print(f"{page}: {wrong}")
        chromium.close()
    sys.exit(failed)


main()

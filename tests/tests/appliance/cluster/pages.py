"""Reads the pages of a box in Chromium, as a person does. Its arguments: the link of `octetctl web`, a folder for pictures,
and the condition of each node as JSON. Lines of its output tell the test what to do meanwhile."""

import base64
import json
import os
import sys
import tempfile
import time

from devtools import Browser

PATHS = [
    "/", "/node/0", "/node/2", "/node/2/unit/cache", "/segments", "/segments?c=1.2", "/cache", "/paths", "/accounts", "/messages",
    "/update",
]

# The machines boot without a disk.
ALARMS = {"/update": ["this box was not started from a slot"]}

# How a page is looked at: its width in pixels, and the colour scheme.
VIEWS = {"light": (1000, "light"), "dark": (1000, "dark"), "360": (360, "light")}

CONDITIONS = """Object.fromEntries([...document.querySelectorAll('#figures tbody tr')]
    .map(row => [...row.children].map(cell => cell.textContent.trim())))"""

FACTS = """Object.fromEntries([...document.querySelectorAll('dl dt')]
    .map(name => [name.textContent, name.nextElementSibling.textContent]))"""

VIOLATIONS = """axe.run().then(found => found.violations
    .filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => one.id + ': ' + one.nodes.map(node => node.html.slice(0, 120)).join(' ')))"""


def say(line):
    print(line, flush=True)


def until(what, wanted):
    """Returns what `wanted` returns as soon as that is true; it is asked for three minutes."""
    end = time.monotonic() + 180
    while True:
        found = wanted()
        if found:
            return found
        if time.monotonic() > end:
            # The test ends with the last line.
            say("late: " + what)
            sys.exit(1)
        time.sleep(0.1)


class Tab:
    """A tab of a browser with a profile of its own."""

    def __init__(self, folder):
        self.browser = Browser(folder, [])
        self.session = self.browser.open("about:blank")
        for domain in ["Page", "Log", "Runtime", "Network"]:
            self.call(domain + ".enable")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def evaluate(self, expression):
        return self.browser.evaluate(self.session, expression)

    def load(self, url):
        """Opens a page and waits until it is complete; returns its HTTP status."""
        before = self.evaluate("performance.timeOrigin")
        self.call("Page.navigate", url=url)
        return self.arrives(url, before)

    def arrives(self, what, before):
        """Waits for a complete page that is another one than that of the time `before`; returns its HTTP status."""
        is_there = f"document.readyState === 'complete' && performance.timeOrigin !== {before}"
        until(what, lambda: self.evaluate(is_there))
        return self.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")

    def view(self, width, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path):
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(image))

    def press(self, key, code, text=None):
        # A key that has a text is a character, too.
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", key=key, code=key, windowsVirtualKeyCode=code, **down)
        self.call("Input.dispatchKeyEvent", key=key, code=key, windowsVirtualKeyCode=code, type="keyUp")

    def errors(self):
        """What the console has of errors: of scripts, of the network, and of the content security policy."""
        logged = [it["params"] for it in self.browser.events if it["method"] == "Log.entryAdded"]
        thrown = [it["params"] for it in self.browser.events if it["method"] == "Runtime.exceptionThrown"]
        return [it["entry"] for it in logged if it["entry"]["level"] == "error"] + thrown

    def requests(self):
        requests = [it["params"] for it in self.browser.events if it["method"] == "Network.requestWillBeSent"]
        return [it["request"]["url"] for it in requests]


def profile():
    # Processes of the browser may write for a moment after its end.
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def status_for_another(url):
    """The HTTP status and the heading for a browser without a session."""
    with profile() as folder:
        tab = Tab(folder)
        status = tab.load(url), tab.evaluate("document.querySelector('h1').textContent")
        tab.browser.close()
    return status


def reads_every_page(tab, base, pictures, axe):
    violations = {}
    for path in PATHS:
        status = tab.load(base + path)
        assert status == 200, (path, status)
        headings = tab.evaluate("[...document.querySelectorAll('h1')].map(it => it.textContent.trim())")
        assert len(headings) == 1 and headings[0], (path, headings)
        alarms = tab.evaluate("[...document.querySelectorAll('.alarm')].map(it => it.querySelector('strong, :scope')"
                              ".textContent.trim())")
        assert alarms == ALARMS.get(path, []), (path, alarms)
        name = path.strip("/").replace("/", "-").replace("?", "-") or "box"
        for view, (width, scheme) in VIEWS.items():
            tab.view(width, scheme)
            tab.picture(os.path.join(pictures, f"{name}-{view}.png"))
            if axe:
                tab.evaluate(axe + ";0")
                violations[path, view] = tab.evaluate(VIOLATIONS)
        # The last view is the narrow one.
        whole, visible = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert whole <= visible <= 360, f"{path} scrolls sideways: {whole} of {visible} pixels"
        tab.view(*VIEWS["light"])
    assert not any(violations.values()), {where: what for where, what in violations.items() if what}


def goes_to_board_2_by_keyboard(tab, base):
    tab.load(base + "/")
    for _ in range(60):
        tab.press("Tab", 9)
        if tab.evaluate("document.activeElement.getAttribute('href')") == "/node/2":
            break
    else:
        raise AssertionError("Tab does not reach the link of board 2")
    assert tab.evaluate("document.activeElement.matches(':focus-visible')"), "the focus is not shown"
    before = tab.evaluate("performance.timeOrigin")
    tab.press("Enter", 13, "\r")
    status = tab.arrives("Enter opens the page of board 2", before)
    place = tab.evaluate("[location.pathname, document.querySelector('h1').textContent]")
    assert (status, place) == (200, ["/node/2", "board 2"]), (status, place)


def sees_board_3_go_off(tab, base, conditions, pictures):
    tab.load(base + "/")
    until("the page is live", lambda: tab.evaluate("document.getElementById('live').textContent") == "Live.")
    assert tab.evaluate(CONDITIONS) == conditions, tab.evaluate(CONDITIONS)
    # This is lost if the page is loaded again.
    tab.evaluate("document.isTheSame = true")
    say("switch board 3 off")
    until("the page shows that board 3 is off", lambda: (tab.evaluate(CONDITIONS) or {}).get("board 3") == "off")
    assert tab.evaluate("document.isTheSame"), "the page was loaded again"
    tab.picture(os.path.join(pictures, "box-board-3-off.png"))


def restarts_the_cache(tab, base, pictures):
    """Returns what the page of the unit says of it before and after."""
    page = base + "/node/2/unit/cache"
    tab.load(page)
    before = tab.evaluate(FACTS)
    origin = tab.evaluate("performance.timeOrigin")
    tab.evaluate("[...document.querySelectorAll('button')].find(it => it.textContent.trim() === 'restart cache').click()")
    status = tab.arrives("the restart is answered", origin)
    heading = tab.evaluate("document.querySelector('h1').textContent")
    assert (status, heading) == (200, "restart: done"), (status, heading)
    tab.picture(os.path.join(pictures, "restart-done.png"))

    def is_ready():
        tab.load(page)
        after = tab.evaluate(FACTS)
        return after["state"] == "ready" and after["since"] != before["since"] and after

    return before, until("the unit is ready again", is_ready)


def is_kept_to_its_own_server(tab, base):
    requests = tab.requests()
    # Among them are those of the page's parts.
    for part in ["/style.css", "/live.js", "/events"]:
        assert base + part in requests, (part, requests)
    others = [url for url in requests if not url.startswith(base + "/")]
    assert not others, others
    assert not tab.errors(), tab.errors()
    # An image of another server is an error that would have been seen.
    tab.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://elsewhere.localhost:9/' })), 0")
    until("the browser reports what the page may not load", lambda: tab.evaluate("1") and tab.errors())
    assert any("Content Security Policy" in it["text"] for it in tab.errors()), tab.errors()


def main():
    link, pictures, conditions = sys.argv[1:]
    base = link.split("/enter")[0]
    axe = os.environ.get("OCTET_AXE")
    if axe:
        with open(axe) as file:
            axe = file.read()
    with profile() as folder:
        tab = Tab(folder)
        tab.view(*VIEWS["light"])
        tab.load(link)
        until("the link leads to the box", lambda: tab.evaluate("location.pathname") == "/")
        reads_every_page(tab, base, pictures, axe)
        say("every page was read, " + ("also by axe-core" if axe else "but axe-core was not run: OCTET_AXE names none"))
        goes_to_board_2_by_keyboard(tab, base)
        refused = status_for_another(link), status_for_another(base + "/")
        assert refused == ((403, "The link is not valid"), (403, "No session")), refused
        sees_board_3_go_off(tab, base, json.loads(conditions), pictures)
        restarted = restarts_the_cache(tab, base, pictures)
        is_kept_to_its_own_server(tab, base)
        tab.browser.close()
    say(json.dumps(restarted))


main()

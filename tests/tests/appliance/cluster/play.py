"""Plays the film at a URL in Chromium: from its begin, and then from its last quarter. Says how large it is."""

import json
import os
import subprocess
import sys
import tempfile
import time

FILM = """(() => {
    const film = document.querySelector('video');
    return film && {
        at: film.currentTime, length: film.duration, ready: film.readyState,
        size: film.videoWidth + 'x' + film.videoHeight, error: film.error && film.error.message,
    };
})()"""


class Browser:
    """DevTools over a pipe: a JSON text and a zero byte each way, at the browser's descriptors 3 and 4."""

    def __init__(self, folder, options):
        here, its_input = os.pipe()
        its_output, there = os.pipe()

        def descriptors():
            os.dup2(here, 13), os.dup2(there, 14)
            os.dup2(13, 3), os.dup2(14, 4)

        command = ["chromium", "--headless", "--user-data-dir=" + folder, "--remote-debugging-pipe"]
        command += ["--autoplay-policy=no-user-gesture-required", *options]
        self.process = subprocess.Popen(command, preexec_fn=descriptors, close_fds=False)
        os.close(here), os.close(there)
        self.to, self.of = os.fdopen(its_input, "wb"), os.fdopen(its_output, "rb")
        self.number = 0

    def call(self, method, session=None, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        self.to.write(json.dumps(request).encode() + b"\0")
        self.to.flush()
        while True:
            text = b""
            while not text.endswith(b"\0"):
                byte = self.of.read(1)
                assert byte, "the browser has ended"
                text += byte
            answer = json.loads(text[:-1])
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]


def plays(browser, session, begin):
    """Waits until the film has gone on for a second behind `begin`."""
    for _ in range(1800):
        film = browser.call("Runtime.evaluate", session, expression=FILM, returnByValue=True)
        film = film["result"].get("value")
        if film and film["error"]:
            sys.exit(film["error"])
        if film and film["at"] > begin + 1:
            return film
        time.sleep(0.1)
    sys.exit(f"it does not play: {film}")


url, *options = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    browser = Browser(folder, options)
    target = browser.call("Target.createTarget", url=url)["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    film = plays(browser, session, 0)
    last = film["length"] * 3 / 4
    seek = f"document.querySelector('video').currentTime = {last}"
    browser.call("Runtime.evaluate", session, expression=seek)
    plays(browser, session, last)
    browser.call("Browser.close")
    browser.process.wait()
    print(f"{film['size']}, {film['length']:.0f} s")

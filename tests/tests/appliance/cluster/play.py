"""Plays the film at a URL in Chromium: from its begin, and then from its last quarter. Says how large it is."""

import sys
import tempfile
import time

from devtools import Browser

FILM = """(() => {
    const film = document.querySelector('video');
    return film && {
        at: film.currentTime, length: film.duration, ready: film.readyState,
        size: film.videoWidth + 'x' + film.videoHeight, error: film.error && film.error.message,
    };
})()"""


def plays(browser, session, begin):
    """Waits until the film has gone on for a second behind `begin`."""
    for _ in range(1800):
        film = browser.evaluate(session, FILM)
        if film and film["error"]:
            sys.exit(film["error"])
        if film and film["at"] > begin + 1:
            return film
        time.sleep(0.1)
    sys.exit(f"it does not play: {film}")


url, *options = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    browser = Browser(folder, ["--autoplay-policy=no-user-gesture-required", *options])
    session = browser.open(url)
    film = plays(browser, session, 0)
    last = film["length"] * 3 / 4
    browser.evaluate(session, f"document.querySelector('video').currentTime = {last}")
    plays(browser, session, last)
    browser.close()
    print(f"{film['size']}, {film['length']:.0f} s")

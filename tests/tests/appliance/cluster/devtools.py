"""Drives Chromium by its DevTools protocol."""

import json
import os
import subprocess


class Browser:
    """DevTools over a pipe: a JSON text and a zero byte each way, at the browser's descriptors 3 and 4."""

    def __init__(self, folder, options):
        here, its_input = os.pipe()
        its_output, there = os.pipe()

        def descriptors():
            os.dup2(here, 13), os.dup2(there, 14)
            os.dup2(13, 3), os.dup2(14, 4)

        command = ["chromium", "--headless", "--user-data-dir=" + folder, "--remote-debugging-pipe", *options]
        self.process = subprocess.Popen(command, preexec_fn=descriptors, close_fds=False)
        os.close(here), os.close(there)
        self.to, self.of = os.fdopen(its_input, "wb"), os.fdopen(its_output, "rb")
        self.number = 0
        # What was received and is not a whole message yet.
        self.received = bytearray()
        # Messages of the browser that answer nothing, in their order.
        self.events = []

    def message(self):
        while b"\0" not in self.received:
            part = self.of.read1(1 << 20)
            assert part, "the browser has ended"
            self.received += part
        text, _, self.received = self.received.partition(b"\0")
        return json.loads(text)

    def answer(self, method, session=None, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        self.to.write(json.dumps(request).encode() + b"\0")
        self.to.flush()
        while True:
            message = self.message()
            if message.get("id") == self.number:
                return message
            if "method" in message:
                self.events.append(message)

    def call(self, method, session=None, **params):
        answer = self.answer(method, session, **params)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, url):
        """A session of a new page at the URL."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        return self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def evaluate(self, session, expression):
        """The value of a JavaScript expression; `None` if the page is being replaced by another one."""
        options = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.answer("Runtime.evaluate", session, **options)
        if "error" in answer:
            # The code by which DevTools says that the page, and with it the script's context, has gone.
            assert answer["error"]["code"] == -32000, answer
            return None
        assert "exceptionDetails" not in answer["result"], answer
        return answer["result"]["result"].get("value")

    def close(self):
        self.call("Browser.close")
        self.process.wait()

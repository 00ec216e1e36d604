"""Drives the status page in a real Chromium over the DevTools protocol.

Arguments: URL of the page, pid of the poller with the id 2, folder for screenshots. Prints what was measured.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from websockets.sync.client import connect

URL, PID, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Browser:
    def __init__(self, folder):
        arguments = [shutil.which("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--disable-background-networking", "--no-first-run", "--remote-debugging-port=0",
                     f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
        for line in self.process.stderr:
            found = re.search(r"ws://\S+", line)
            if found:
                break
        else:
            raise SystemExit("chromium does not start")
        self.socket = connect(found.group(0), max_size=None)
        self.number, self.session = 0, None
        self.faults, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            said = json.loads(self.socket.recv(timeout=60))
            self.note(said)
            if said.get("id") == self.number:
                if "error" in said:
                    raise SystemExit(f"{method}: {said['error']}")
                return said["result"]

    def note(self, said):
        method, parameters = said.get("method"), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.faults.append(json.dumps(parameters["entry"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.faults.append(json.dumps(parameters["args"]))

    def value(self, expression):
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise SystemExit(f"{expression}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    def until(self, what, expression, seconds=30):
        begin = time.monotonic()
        while not self.value(expression):
            if time.monotonic() - begin > seconds:
                self.shot("fault")
                raise SystemExit(f"not within {seconds} s: {what}\n{self.value('document.body.innerText')}\n{self.faults}")
            time.sleep(0.02)
        return time.monotonic() - begin

    def key(self, name, text=None):
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "/": 191}
        event = {"key": name, "windowsVirtualKeyCode": codes.get(name, ord(name[0].upper()))}
        if name == "Enter":
            text = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, name):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(os.path.join(FOLDER, f"{name}.png"), "wb") as file:
            file.write(base64.b64decode(data))

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def state_of(node):
    return (f"[...document.querySelectorAll('#rows tr')].find((row) => row.querySelector('a').textContent === '{node}')"
            "?.querySelector('.state')?.textContent")


def main(browser):
    browser.size(1280, 900)
    browser.scheme("light")
    browser.call("Page.navigate", url=URL)
    browser.until("node 2 is up", f"{state_of(2)} === 'up'")
    browser.until("the script runs", "!document.getElementById('find').hidden")
    paint = browser.value("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1")
    print(f"first paint after {paint:.0f} ms")
    browser.shot("light")

    # The keyboard: search, leave, open a node, come back.
    browser.key("/")
    assert browser.value("document.activeElement.id") == "search"
    browser.type("no such node")
    browser.until("nothing fits", "!document.getElementById('none').hidden")
    browser.key("Escape")
    browser.until("all nodes are back", "document.getElementById('none').hidden")
    for _ in range(10):
        browser.key("Tab")
        if browser.value("document.activeElement.getAttribute('href')") == "#node/2":
            break
    else:
        raise SystemExit("the node is not reached by the keyboard")
    browser.key("Enter")
    browser.until("the node is shown", "!document.getElementById('node').hidden")
    assert browser.value("document.activeElement.id") == "node-title"
    browser.key("Escape")
    browser.until("the list is back", "!document.getElementById('list').hidden")
    assert browser.value("document.activeElement.getAttribute('href')") == "#node/2"

    # A ping and a command.
    browser.key("Enter")
    browser.until("the node is shown", "!document.getElementById('node').hidden")
    browser.value("document.getElementById('ping').click()")
    browser.until("the node answers", "document.getElementById('said').textContent === 'The node answers.'")
    browser.value("document.getElementById('command').focus()")
    browser.type("echo from-the-page")
    browser.key("Enter")
    browser.until("its output", "document.getElementById('output').textContent.includes('from-the-page')")
    browser.until("its end", "document.getElementById('said').textContent === 'It is done.'")
    browser.value("document.querySelector('[name=grep]').value = 'from-the-page'")
    browser.value("document.getElementById('history-form').requestSubmit()")
    browser.until("the history", "document.querySelectorAll('#history tr').length > 0")
    browser.shot("node")
    if browser.value("!document.getElementById('running-box').hidden"):
        browser.value("document.getElementById('command').value = 'sleep 300'")
        browser.value("document.getElementById('command-form').requestSubmit()")
        browser.until("it runs", "document.querySelectorAll('#running button').length > 0")
        browser.shot("running")
        browser.value("document.querySelector('#running button').click()")
        browser.until("it is cancelled", "document.querySelectorAll('#running tr').length === 0")
    else:
        print("SKIPPED: running commands are not shown")
    browser.value("location.hash = ''")
    browser.until("the list is back", "!document.getElementById('list').hidden")

    # A phone, and the dark.
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.size(360, 740, mobile=True)
        width = browser.value("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        assert width <= 360, f"{width} pixels wide"
        browser.shot(f"phone-{scheme}")
        browser.size(1280, 900)
    dark = browser.value("getComputedStyle(document.body).backgroundColor")
    browser.shot("dark")
    browser.scheme("light")
    assert browser.value("getComputedStyle(document.body).backgroundColor") != dark

    axe = os.environ.get("STHENO_AXE", "")
    if os.path.exists(axe):
        with open(axe) as file:
            browser.call("Runtime.evaluate", expression=file.read())
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            for place in ("", "#node/2"):
                browser.value(f"location.hash = '{place}'")
                time.sleep(0.3)
                found = browser.value("axe.run().then((r) => r.violations.filter((v) => ['serious', 'critical']"
                                      ".includes(v.impact)).map((v) => [v.id, v.nodes.map((n) => n.html).slice(0, 3)]))")
                assert not found, f"axe-core {scheme} {place}: {found}"
        browser.value("location.hash = ''")
        browser.scheme("light")
        print("axe-core found no serious fault")
    else:
        print("SKIPPED: axe-core is not there")

    # Traffic of a quiet page.
    os.kill(PID, signal.SIGKILL)
    after = browser.until("node 2 is down", f"{state_of(2)} === 'down'")
    print(f"down after {after:.1f} s")
    assert after <= float(os.environ.get("STHENO_SHOWN_WITHIN", "3")), f"shown after {after} s"
    browser.shot("down")

    origin = URL.rstrip("/")
    foreign = [url for url in browser.requests if not url.startswith(origin) and not url.startswith("data:")
               and url != "about:blank"]
    assert not foreign, foreign
    assert not browser.faults, browser.faults

    # Without script the table is there.
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.call("Page.navigate", url=URL)
    time.sleep(0.5)
    document = browser.call("DOM.getDocument", depth=-1)
    text = json.dumps(document)
    assert "never connected" in text and '"#node/2"' in text
    browser.shot("no-script")


with tempfile.TemporaryDirectory() as folder:
    browser = Browser(folder)
    try:
        main(browser)
    finally:
        browser.end()
        time.sleep(0.2)
print("ok")

"""Two browsers that open a page from the disk and give it files: Chromium by playwright, Firefox by WebDriver BiDi."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from playwright import sync_api
from websockets.sync.client import ClientConnection, connect

SECONDS = 300


class Tab(Protocol):
    """A page in a browser."""

    problems: list[str]  # of its console, and requests

    def open(self, file: Path) -> None: ...

    def give(self, element: str, *files: Path) -> None:
        """Choose files in the <input> with this id."""

    def wait(self, checks: int) -> None:
        """Wait until the page has ended its first, second, ... check."""

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element that fits a selector, hidden ones too."""

    def press(self, element: str) -> None:
        """Click on the element with this id."""


def is_elsewhere(url: str) -> bool:
    """Return whether a request asks for something that is not in the page itself."""
    return not url.endswith("/check.html") and not url.startswith(("blob:", "data:"))


class ChromiumTab:
    def __init__(self, tab: sync_api.Page) -> None:
        self.tab = tab
        self.problems: list[str] = []
        tab.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: self.problems.append(str(error)))
        # But for the page itself, and workers of its own text.
        tab.on("request", lambda request: self.problems.extend([request.url] if is_elsewhere(request.url) else []))

    def open(self, file: Path) -> None:
        self.tab.goto(file.as_uri())

    def give(self, element: str, *files: Path) -> None:
        self.tab.set_input_files(f"#{element}", list(files))

    def wait(self, checks: int) -> None:
        self.tab.wait_for_selector(f"body[data-checks='{checks}']", timeout=1000 * SECONDS)

    def texts(self, selector: str) -> list[str]:
        return self.tab.locator(selector).all_text_contents()

    def press(self, element: str) -> None:
        self.tab.locator(f"#{element}").click()


class FirefoxTab:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.numbers = itertools.count()
        self.problems: list[str] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **parameters: Any) -> Any:
        number = next(self.numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.connection.recv(SECONDS))).get("id") != number:
            if answer.get("method") == "log.entryAdded":
                self.problems.append(answer["params"]["text"])
            elif answer.get("method") == "network.beforeRequestSent" and is_elsewhere(
                url := answer["params"]["request"]["url"]
            ):
                self.problems.append(url)
        assert answer["type"] == "success", answer
        return answer["result"]

    def open(self, file: Path) -> None:
        self.problems.clear()
        self.call("browsingContext.navigate", context=self.context, url=file.as_uri(), wait="complete")

    def _run(self, function: str, *texts: str) -> Any:
        values = [{"type": "string", "value": text} for text in texts]
        result = self.call(
            "script.callFunction",
            functionDeclaration=function,
            arguments=values,
            awaitPromise=False,
            target={"context": self.context},
        )
        return json.loads(result["result"]["value"])

    def give(self, element: str, *files: Path) -> None:
        found = self.call(
            "browsingContext.locateNodes", context=self.context, locator={"type": "css", "value": f"#{element}"}
        )
        node = {"sharedId": found["nodes"][0]["sharedId"]}
        self.call("input.setFiles", context=self.context, element=node, files=[str(file) for file in files])

    def wait(self, checks: int) -> None:
        end = time.monotonic() + SECONDS
        while self._run("() => JSON.stringify(document.body.dataset.checks ?? null)") != f"{checks}":
            assert time.monotonic() < end, f"the page has not ended check {checks} after {SECONDS} seconds"
            time.sleep(0.05)

    def texts(self, selector: str) -> list[str]:
        collect = "selector => JSON.stringify([...document.querySelectorAll(selector)].map(each => each.textContent))"
        texts: list[str] = self._run(collect, selector)
        return texts

    def press(self, element: str) -> None:
        self._run("id => JSON.stringify(document.getElementById(id).click() ?? null)", element)


@contextmanager
def chromium(executable: str) -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        # Chromium cannot start its sandbox in a container.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def firefox(executable: str, profile: Path) -> Iterator[FirefoxTab]:
    """Start a Firefox without a window, and yield a page of it."""
    command = [executable, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"HOME": str(profile)},
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            address = next(
                found[1] for line in process.stderr if (found := re.search(r"WebDriver BiDi listening on (\S+)", line))
            )
            with connect(f"{address}/session", max_size=None, proxy=None) as connection:
                yield FirefoxTab(connection)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def check(tab: Tab, page: Path, run: Path, *files: Path) -> str:
    """Open the page, give it images and a run, and return its verdict."""
    tab.open(page)
    if files:
        tab.give("files", *files)
        tab.wait(1)
    tab.give("files" if run.is_file() else "folder", run)
    tab.wait(2 if files else 1)
    return tab.texts("#verdict p")[0]

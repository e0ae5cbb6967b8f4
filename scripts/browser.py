"""A browser without a window: Debian's chromium, driven by selenium. It tells what it asked for."""

import base64
import json
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from servers import find_program

NO_PROXY = "--no-proxy-server"


class Browser:
    """Open it in a `with`. Raises ServerFailed if chromium is missing."""

    def __init__(self) -> None:
        options = ChromeOptions()
        options.binary_location = find_program("chromium", "chromium")
        driver = find_program("chromedriver", "chromium-driver")
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", NO_PROXY):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(driver))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def look(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Open a page in a window of this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get(url)

    def save(self, path: Path, *, longest: int = 2_000) -> None:
        """The whole page as a picture, at most so many pixels high."""
        width = self.run("return window.innerWidth")
        height = min(longest, self.run("return document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector: str) -> list[str]:
        """What stands in elements, also without JavaScript."""
        return [each.text for each in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def type(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

    def click(self, selector: str) -> None:
        """Click at an element, wherever it is."""
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def javascript(self, on: bool) -> None:
        """Allow it or not, from the next page on."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not on})

    def requested(self) -> list[str]:
        """The addresses that were asked for since this was called last."""
        events = [json.loads(each["message"])["message"] for each in self.driver.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the console says since this was called last."""
        return [each["message"] for each in self.driver.get_log("browser")]

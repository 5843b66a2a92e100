"""The page of `kvcalc report` in a real Chromium: its numbers are the command line's, and nothing leaves it."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import socket
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

import kvcalc
from kvcalc.cli.app import app
from kvcalc.formula import APPLY
from kvcalc.report.page.columns import WRITE
from kvcalc.report.page.explained import count
from kvcalc.report.page.script import CALLS
from kvcalc.report.units import duration
from kvcalc.rows import REALS
from kvcalc.workload import parse_tokens
from screens import kvcalc as run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.outside

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PAGES = {  # hybrids, windows, latents, states, encoders, engines
    "one": "deepseek-v2",
    "hybrids": "gemma-3-27b llama-3.1-8b nemotron-h-8b deepseek-v3 qwen3-next-80b-a3b --engine paper,vllm",
    "sparse": "deepseek-v3.2 deepseek-v4-flash minimax-m3 falcon-h1-7b --dtype fp8 --cached 1k --context 16k",
    "shared": "llama-4-scout-17b-16e gpt-oss-20b --shared-prefix 2k --batch 8 --generate 256 --dtype q8_0",
    "engines": "mistral-7b-v0.1 --variants none --engine transformers,sglang,llamacpp,vllm@0.11",
    "devices": "deepseek-v3 llama-3.1-70b --engine vllm,sglang --tp 4",
    "spread": "deepseek-v3 --on 8xH200 --engine vllm --dp 8 --ep 8",
    "machines": "qwen3-30b-a3b gemma-3-27b --on H100,8xH200 --weight-dtype fp8 --variants mqa",
}
SETTINGS = [("4100", "1"), ("32k", "64"), ("131,071", "7"), ("1m", "1"), ("10000000", "1000000000"), ("2049", "512")]
ASKED = [(name, SETTINGS[at % 2 :: 2]) for at, name in enumerate(PAGES)]  # two dozen in all


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for all tests; skipped where it or its driver is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(f"{'chromium' if not chromium else 'chromedriver'} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    for name, line in PAGES.items():
        assert run(f"report {line} -q -o {folder / name}.html") == (0, "", "")
    return {name: f"file://{folder / name}.html" for name in PAGES}


def screen(browser: Any, width: int, height: int = 900, **features: str) -> None:
    """A screen of this size that prefers so."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})


def settled(browser: Any) -> None:
    """Wait for the frame in which the page shows what was set."""
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def set_by_hand(browser: Any, context: str, batch: str) -> None:
    """Type both numbers into their fields."""
    for name, text in (("n", context), ("b", batch)):
        field = browser.find_element("id", f"{name}-field")
        field.clear()
        field.send_keys(text, "\ue007")  # Enter
    settled(browser)


def table(browser: Any) -> list[dict[str, str]]:
    """Every number of the comparison by its row's key, with every digit."""
    found: list[dict[str, str]] = browser.execute_script(
        """
        const keys = [...document.querySelectorAll("#table thead th")].map((th) => th.title.split(":")[0]);
        return [...document.querySelectorAll("#table tbody tr")].map((row) =>
          Object.fromEntries([...row.cells].map((cell, at) => [keys[at], cell.title || cell.textContent])));
        """
    )
    return [{key: text for key, text in row.items() if key} for row in found]


@pytest.mark.parametrize("name, settings", ASKED, ids=PAGES)
def test_the_sliders_numbers_are_the_command_lines(
    browser: Any, pages: dict[str, str], capsys: pytest.CaptureFixture[str], name: str, settings: list[tuple[str, str]]
) -> None:
    """Every number of the table at every setting, by the command that the page itself says is the same."""
    browser.get(pages[name])
    for context, batch in settings:
        set_by_hand(browser, context, batch)
        command = shlex.split(browser.find_element("id", "command").text)
        assert command[0] == "kvcalc"
        line = [*command[1:], "-q", "-f", "json"]
        typer.main.get_command(app).main(line, prog_name="kvcalc", standalone_mode=False)
        rows = json.loads(capsys.readouterr().out)
        asked = (parse_tokens(context, ""), int(batch))
        assert {(row["context_tokens"], row["batch"]) for row in rows} == {asked}
        shown = table(browser)
        assert len(shown) == len(rows)
        for cells, row in zip(shown, rows, strict=True):
            for key, text in cells.items():
                value = row[key]
                if value is None:
                    assert text == "-", (key, text)
                elif key in REALS:  # a power of floating point may differ in its last digit
                    assert float(text) == pytest.approx(value, rel=1e-12, abs=0), key
                else:
                    assert type(value)(text.replace(",", "")) == value, (key, text, value)
    assert [line for line in browser.get_log("browser") if line["level"] != "INFO"] == []


def test_what_is_shown_for_people_is_what_the_tables_of_the_command_line_show(
    browser: Any, pages: dict[str, str]
) -> None:
    """The script's rounding is Python's, ties and the edges of units too."""
    browser.get(pages["one"])
    numbers = [0, 1, 9, 999, 1000, 1023, 1024, 1025, 10**5, 123456, 10**18, 10**24 + 7]
    for power in range(5, 62, 3):
        for near in (-1, 0, 1):
            numbers += [2**power + near, 10 ** (power // 3) + near, 9995 * 10 ** (power // 3) + near]
    numbers += [1088 << 20, 1089 << 20, 1091 << 20, 10625 * 10**5, 10635 * 10**5, 99995 * 10**7, 999949 * 10**6]
    for as_ in ("count", "bytes", "decimal", "flops"):
        script = "return arguments[0].map((text) => written(BigInt(text), arguments[1]))"
        shown = browser.execute_script(script, [str(number) for number in numbers], as_)
        assert shown == [WRITE[as_](number) for number in numbers]
    seconds = [0.0, 1e-12, 1.23456e-7, 9.9999e-7, 1e-6, 0.0012345, 0.00062506, 0.99999, 1.0, 59.995, 12345.5, 1e7]
    assert browser.execute_script("return arguments[0].map(duration)", seconds) == [duration(one) for one in seconds]
    reals = [*seconds, 123456.5, 999999.5, 1234567.5, 2.0**60, 1e22, 1.5e-5, 0.1, 1 / 3, 100.0, 31.25]
    assert browser.execute_script("return arguments[0].map(inFormula)", reals) == [count(one) for one in reals]
    pairs = [(a, b) for a in (1, 3, 17, 2**53 + 1, 10**15 + 1, 10**30) for b in (1, 7, 1000, 2**60 - 1, 10**22, 3**40)]
    pairs += [(10625, 10000), (10635, 10000), (99995, 100000), (999950, 100), (1, 80000), (17, 16 * 10**4)]
    script = "return arguments[0].map(([a, b]) => ratioOf(BigInt(a), BigInt(b)))"
    shown = browser.execute_script(script, [[str(a), str(b)] for a, b in pairs])
    assert shown == [a / b for a, b in pairs]
    script = "return arguments[0].map(([a, b]) => written(ratioOf(BigInt(a), BigInt(b)), arguments[1]))"
    for as_ in ("ratio", "decimal"):
        shown = browser.execute_script(script, [[str(a), str(b)] for a, b in pairs], as_)
        assert shown == [WRITE[as_](a / b) for a, b in pairs]


def test_the_scripts_operations_are_the_formulas(browser: Any, pages: dict[str, str]) -> None:
    """Signs, zeros, whole numbers beyond any word: the same value, or refused by both."""
    browser.get(pages["one"])
    numbers = [-(10**30), -17, -8, -1, 0, 1, 2, 7, 8, 64, 1000, 2**64 + 1, 10**30]
    script = """
        const [name, pairs] = arguments;
        const calls = {"+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, divide, floor, modulo, power,
          min, max, ceil_div, isqrt};
        return pairs.map(([a, b]) => {
          try { return String(calls[name](BigInt(a), BigInt(b))); } catch (error) { return null; }
        });
    """
    for operator, apply in APPLY.items():
        pairs = [(a, b) for a in numbers for b in numbers]
        wanted: list[str | None] = []
        for a, b in pairs:
            try:
                wanted.append(str(apply(a, b)))
            except Exception:  # whatever is refused
                wanted.append(None)
        called = CALLS.get(operator, operator)
        assert browser.execute_script(script, called, [[str(a), str(b)] for a, b in pairs]) == wanted, operator


def test_nothing_leaves_the_page_and_nothing_could(browser: Any, pages: dict[str, str]) -> None:
    """Every request of a visit is the file itself; what a script of it tries is refused by its own policy."""
    browser.get_log("performance")
    browser.get(pages["hybrids"])
    set_by_hand(browser, "64k", "3")
    asked = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    urls = {event["params"]["request"]["url"] for event in asked if event["method"] == "Network.requestWillBeSent"}
    assert urls == {pages["hybrids"]}
    calls: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        listener = threading.Thread(target=_listen, args=(server, calls))
        listener.start()
        refused = browser.execute_async_script(
            "const [url, done] = arguments; new Image().src = url;"
            "fetch(url, {mode: 'no-cors'}).then(() => done('sent'), () => done('refused'))",
            address,
        )
        listener.join()
    assert (refused, calls) == ("refused", [])
    browser.get_log("browser")


def _listen(server: socket.socket, calls: list[bytes]) -> None:
    try:
        caller, _ = server.accept()
    except TimeoutError:
        return
    with caller:
        calls.append(caller.recv(100))


@pytest.mark.parametrize("width, scheme", [(375, "dark"), (1280, "light")])
def test_it_fits_the_screen_and_can_be_read_on_it(
    browser: Any, pages: dict[str, str], tmp_path: Path, width: int, scheme: str
) -> None:
    """No scrolling to the side, contrast of at least 4.5 in text, a screenshot that is no blank."""
    screen(browser, width, prefers_color_scheme=scheme)
    browser.get(pages["hybrids"])
    wide, inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= inner
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 20
    assert [one for one in contrasts if one[1] < 4.5] == []
    shot = tmp_path / "page.png"
    assert browser.save_screenshot(str(shot))
    assert shot.stat().st_size > 20_000
    screen(browser, 1280)


CONTRASTS = """
  const channel = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
  const parts = (text) => text.match(/[0-9.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parts(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = new Map();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest("svg, script")) continue;
    const pair = [light(parts(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    found.set(`${element.tagName}.${element.className}`, (pair[0] + 0.05) / (pair[1] + 0.05));
  }
  return [...found];
"""


def test_it_works_by_keyboard_and_says_so(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["hybrids"])
    slider = browser.find_element("id", "n-slider")
    before = browser.execute_script("return String(state.n)")
    slider.send_keys("\ue014")  # right
    settled(browser)
    after = browser.execute_script("return String(state.n)")
    assert int(after) > int(before)
    assert slider.get_attribute("aria-valuetext") == f"{int(after):,} tokens"
    plot = browser.find_element("css selector", ".plot")
    told = plot.get_attribute("aria-valuetext")
    plot.send_keys("\ue014")
    moved = plot.get_attribute("aria-valuetext")
    assert moved != told
    assert "gemma-3-27b" in moved
    browser.execute_async_script("setTimeout(arguments[0], 700)")
    status = browser.find_element("id", "status").get_attribute("textContent")
    assert f"{int(after):,} tokens of context" in status
    assert "gemma-3-27b" in status


def test_a_number_that_is_none_is_refused_with_what_would_be_right(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["sparse"])
    for text in ("", "1024", "0", "-1", "1e6", "2000000000000", "<b>"):
        field = browser.find_element("id", "n-field")
        field.clear()
        field.send_keys(text, "\ue007", "\ue004")
        assert field.get_attribute("aria-invalid") == "true", text
        assert "from 1,025 to 1,000,000,000,000" in browser.find_element("id", "n-refused").text
        assert browser.execute_script("return String(state.n)") == "16384"
    browser.find_element("css selector", "button[type=reset]").click()
    settled(browser)
    assert browser.find_element("id", "n-field").get_attribute("aria-invalid") == "false"


def test_a_hostile_name_is_shown_as_it_is(browser: Any, tmp_path: Path) -> None:
    """In the table, the charts' legends, the layer map and what is read aloud; it runs nothing, and is no error."""
    from kvcalc import compare, load, parse_request
    from kvcalc.report.page.document import page

    hostile = "a</script><img src=x onerror=\"document.title='run'\">&amp;\u2028"
    specs = [load("gemma-3-1b")._replace(name=hostile), load("gpt2")]
    text = page(compare(specs, parse_request({"context": "1k"}), None), hostile, [hostile], [hostile])
    (tmp_path / "hostile.html").write_text(text)
    browser.get_log("browser")
    browser.get(f"file://{tmp_path}/hostile.html")
    settled(browser)
    assert browser.title != "run"
    shown = hostile.replace("\u2028", "\\u2028")  # a table tells what turns a line
    legend = "return document.querySelector('.legend .who').textContent"
    assert browser.execute_script(legend) == hostile
    assert browser.execute_script("return document.querySelector('#table tbody th').textContent") == shown
    assert hostile in browser.find_element("css selector", ".plot").get_attribute("aria-valuetext")
    assert browser.execute_script("return document.images.length") == 0
    assert browser.get_log("browser") == []


def test_every_header_sorts_both_ways(browser: Any, pages: dict[str, str]) -> None:
    browser.get(pages["hybrids"])
    column = """
        const heads = [...document.querySelectorAll("#table thead th")];
        const at = heads.findIndex((th) => th.title.startsWith(arguments[0]));
        return [...document.querySelectorAll("#table tbody tr")].map((row) => row.cells[at].title);
    """
    original = browser.execute_script(column, "reserved_bytes")
    head = browser.find_element("css selector", 'th[title^="reserved_bytes"]')
    button = head.find_element("css selector", "button")
    for order, reverse in (("ascending", False), ("descending", True)):
        browser.execute_script("arguments[0].focus()", button)
        button.send_keys(" ")
        assert head.get_attribute("aria-sort") == order
        values = [int(text.replace(",", "")) for text in browser.execute_script(column, "reserved_bytes")]
        assert values == sorted(values, reverse=reverse)
    button.send_keys(" ")
    assert head.get_attribute("aria-sort") is None
    assert browser.execute_script(column, "reserved_bytes") == original


def test_the_formulas_numbers_follow_the_settings(browser: Any, pages: dict[str, str]) -> None:
    """Each explanation, read off its mathematics, is what `explain` says at that setting."""
    browser.get(pages["hybrids"])
    set_by_hand(browser, "50,000", "3")
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    settled(browser)
    lines = browser.execute_script(
        """
        const report = document.querySelectorAll("details.report")[0];
        return [...report.querySelectorAll("li")].map((li) => [
          li.querySelector(":scope > .name").textContent,
          [...li.querySelectorAll(":scope > .side")].at(-1).textContent.replace(/[= ,]/g, ""),
        ]);
        """
    )
    told = run("explain gemma-3-27b --context 50000 --batch 3 -q -f json")
    known = {(line["name"], str(line["result"])) for line in json.loads(told.out)}
    assert len(lines) > 100
    assert [line for line in lines if tuple(line) not in known] == []


def test_the_screen_reader_finds_names_for_everything(browser: Any, pages: dict[str, str]) -> None:
    """Headings in order, captions and scopes in tables, names for controls and pictures."""
    browser.get(pages["hybrids"])
    headings = browser.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => +h.tagName[1])")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    tables = """
        const tables = [...document.querySelectorAll("table")];
        return tables.map((table) => [!!table.caption, [...table.querySelectorAll("th")].every((head) => head.scope)]);
    """
    assert {tuple(one) for one in browser.execute_script(tables)} == {(True, True)}
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = ("button", "slider", "textbox", "checkbox", "image", "img", "link", "region", "form")
    unnamed = [
        node["role"]["value"]
        for node in tree
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]
    assert unnamed == []
    assert sum(node["role"]["value"] == "slider" for node in tree if not node["ignored"]) == 6


def test_without_scripts_the_numbers_of_the_command_stand_there(browser: Any, pages: dict[str, str]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["one"])
        text = browser.find_element("tag name", "body").text
        assert "2.109 GiB" in text
        assert "with scripts allowed" in text
        assert not browser.find_element("id", "n-slider").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_on_paper_is_what_is_open_and_no_control(browser: Any, pages: dict[str, str]) -> None:
    """A few pages; all formulas where that is asked for, and as before when it is no longer."""
    browser.get(pages["engines"])
    shown = "return [...document.querySelectorAll('details.quantity li')].filter((li) => li.checkVisibility()).length"
    every = browser.find_element("id", "every")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not browser.find_element("id", "settings").is_displayed()
        assert not every.is_displayed()
        few, short = browser.execute_script(shown), printed(browser)
        browser.execute_script("arguments[0].click()", every)
        assert browser.execute_script(shown) > 20 * few > 0
        assert printed(browser) > 2 * short
        assert 2 <= short <= 5
        browser.execute_script("arguments[0].click()", every)
        assert browser.execute_script(shown) == few
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def printed(browser: Any) -> int:
    """How many pages it takes."""
    data = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    return len(re.findall(rb"/Type\s*/Page\b", data))


def test_the_roofline_has_the_points_of_the_plot(browser: Any, pages: dict[str, str]) -> None:
    """Of every model and machine, at another context and batch than the page began with."""
    browser.get(pages["machines"])
    set_by_hand(browser, "5000", "24")
    lines = browser.execute_script(
        """
        return DATA.roofline.lines.map((line) => [line.label, Object.entries(line.points).map(([phase, refs]) =>
          [phase, ...refs.map((ref) => numberAt(ref, line.report, state.computed))])]);
        """
    )
    shown = {(label, phase): (x, y) for label, points in lines for phase, x, y in points}
    options = {"context": "5000", "batch": "24", "on": "H100,8xH200", "weight_dtype": "fp8"}
    specs = [kvcalc.load(name) for name in ("qwen3-30b-a3b", "gemma-3-27b")]
    figure = kvcalc.plot_roofline(specs, kvcalc.parse_grid(options), kvcalc.parse_variants("mqa"))
    wanted = {(series.label, point.group): (point.x, point.y) for series, point in figure.points}
    assert len(wanted) == 16
    assert shown == {key: pytest.approx(place, rel=1e-12, abs=0) for key, place in wanted.items()}
    assert len(browser.find_elements("css selector", "#roof .over")) == len(figure.roofs) == 4
    assert len(browser.find_elements("css selector", "#roof .plot .point")) == 16
    told = browser.find_element("css selector", "#roof .legend").text
    assert all(label in told for label, _ in wanted)
    assert "decode" in told
    assert [line for line in browser.get_log("browser") if line["level"] != "INFO"] == []

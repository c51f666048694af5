"""The page in a real browser: what it shows, and what slider, keys, mouse and small screens do."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irs_marl_env import get_scenario, replay
from irs_marl_env.figure_style import BS_COLOURS

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
ON_DARK = {"#0072B2": "#3A94DB", "#D55E00": "#EC7A1C"}
IDLE = "#B9BFC8"
SLOTS = 40


@pytest.fixture(scope="module")
def records():
    """Two policies, of which the first owns its IRSs in a way that is known: IRS 0 is idle from slot 20 on."""
    scenario = get_scenario("mdlbi-small-v0", mobility="static", horizon=SLOTS)
    pair = [replay.record(p, scenario, seed=5) for p in ("structured-local-gain", "structured-random")]
    owner = np.zeros((SLOTS, 2), np.int64)
    owner[10:, 0], owner[20:, 0], owner[:, 1] = 1, -1, 1
    pair[0] = replace(pair[0], owner=owner, holder=owner)
    return pair


@pytest.fixture
def opened(browser, tmp_path_factory):
    """Opens records in a context of its own; says what went to the console and over the network."""
    contexts = []

    def open_page(records: Any, size: dict[str, int] = DESKTOP, **options: Any):
        path = tmp_path_factory.mktemp("page") / "replay.html"
        replay.write(records, path)
        context = browser.new_context(viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        until(page, "window.irsReplay")
        return page

    yield open_page
    for context in contexts:
        context.close()


def shot(page: Any, x: float, y: float) -> tuple[int, ...]:
    """The colour of the page at a place of the window, as a screenshot has it."""
    image = pytest.importorskip("PIL.Image")
    with image.open(io.BytesIO(page.screenshot())) as picture:
        return picture.convert("RGB").getpixel((round(x), round(y)))


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def near(found: tuple[int, ...], colour: str) -> bool:
    return max(abs(a - b) for a, b in zip(found, rgb(colour), strict=True)) <= 3


def place(page: Any, metres: Any, panel: int = 0) -> tuple[float, float]:
    """Where a place of the area is in the window, by the marks of the axes: the map is 80 m x 80 m."""
    box = page.locator("figure canvas").nth(panel).bounding_box()
    left, right, top, bottom = 46, 14, 26, 36  # room for the marks
    across, up = box["width"] - left - right, box["height"] - top - bottom
    return box["x"] + left + metres[0] / 80 * across, box["y"] + box["height"] - bottom - metres[1] / 80 * up


def until(page: Any, what: str) -> None:
    """Wait until an expression is true; the page's own security policy forbids what waits inside of it."""
    end = time.monotonic() + 20
    while not page.evaluate(f"Boolean({what})"):
        assert time.monotonic() < end, what
        page.wait_for_timeout(20)


def slot_of(page: Any) -> int:
    return int(page.locator("#now").inner_text().split()[1])


def seek(page: Any, slot: int) -> None:
    page.locator("#slot").fill(str(slot))
    assert slot_of(page) == slot


def picture(page: Any, which: str = "figure canvas") -> str:
    return page.locator(which).first.evaluate("canvas => canvas.toDataURL()")


# --- it opens -------------------------------------------------------------------------------------------------------


def test_it_opens_without_errors_and_without_the_network(opened, records):
    page = opened(records)
    assert page.said == []
    assert [url.split(":")[0] for url in page.asked] == ["file"]
    assert page.title() == "structured-local-gain and structured-random on own scenario"
    assert page.locator("#problem").is_hidden()


def test_the_rates_are_those_of_the_episode(opened, records):
    page = opened(records)
    for slot in (0, 7, SLOTS - 1):
        seek(page, slot)
        totals = [record.sum_rate.sum(1) for record in records]
        texts = [text.replace("\u2212", "-") for text in page.locator("#scores dd:not(.unit)").all_inner_texts()]
        expected = [number for total in totals for number in (total[slot], total[: slot + 1].mean())]
        expected += [expected[0] - expected[2], expected[1] - expected[3]]
        np.testing.assert_allclose([float(text) for text in texts], expected, atol=0.0051)
        row = page.locator("table").first.locator("tr").nth(1).locator("td").all_inner_texts()
        assert row[0] == "BS 0"
        assert int(row[1]) == (records[0].cell[slot] == 0).sum()
        assert int(row[2]) == (records[0].owner[slot] == 0).sum()
        np.testing.assert_allclose(float(row[3]), records[0].sum_rate[slot, 0], atol=0.0051)
        np.testing.assert_allclose(float(row[4]), records[0].sum_rate[: slot + 1, 0].mean(), atol=0.0051)
        assert f"· {slot} s" in page.locator("#now").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_shows_owners_and_users(opened, records, scheme):
    """In screenshots: IRSs in the colour of the slot's owner, users in the colour of the cell."""
    page = opened(records, color_scheme=scheme)
    colours = [c if scheme == "light" else ON_DARK[c] for c in BS_COLOURS[:2]]
    x, y = place(page, (40, 20))  # IRS 0; beside its number
    for slot, colour in ((9, colours[0]), (10, colours[1]), (19, colours[1])):
        seek(page, slot)
        assert near(shot(page, x - 6, y - 6), colour), (slot, shot(page, x - 6, y - 6))
    seek(page, 20)
    assert near(shot(page, x - 6, y - 6), IDLE if scheme == "light" else "#666F7C")
    for k in range(4):
        user = place(page, records[0].position[20, k])
        assert near(shot(page, *user), colours[records[0].cell[20, k]])
    ground = shot(page, *place(page, (1.5, 78)))
    assert ground != shot(page, *place(page, (78.5, 78)))  # the other cell
    assert (max(ground) < 110) == (scheme == "dark")
    assert page.said == []


def test_links_are_drawn_to_the_owner(opened, records):
    """In the middle between a BS and IRS 0 the map changes when the BS becomes the owner, and only then."""
    page = opened(records)
    x, y = place(page, (10, 35))  # a quarter of the way from BS 0 to IRS 0
    seen = []
    for slot in (9, 10):
        seek(page, slot)
        seen.append(shot(page, x, y))
    assert seen[0][0] < seen[1][0] - 40  # a blue line on a pale ground, then the ground


# --- what moves it ------------------------------------------------------------------------------------------------


def test_the_slider_moves_the_slot(opened, records):
    page = opened(records)
    before = [picture(page), picture(page, "#difference-plot")]
    seek(page, 12)
    assert page.locator("#slot").get_attribute("aria-valuetext") == "slot 12, 12 s"
    assert "Slot 12: structured-local-gain" in page.locator("#spoken").inner_text()
    assert picture(page) != before[0]
    assert picture(page, "#difference-plot") != before[1]
    seek(page, 0)
    assert [picture(page), picture(page, "#difference-plot")] == before


def test_play_plays_and_pauses_and_ends(opened, records):
    page = opened(records)
    page.select_option("#speed", "20")
    play = page.locator("#play")
    play.click()
    assert play.get_attribute("aria-label") == "Pause"
    until(page, "irsReplay.slot >= 5")
    play.click()
    stopped = slot_of(page)
    page.wait_for_timeout(300)
    assert slot_of(page) == stopped
    page.select_option("#speed", "50")
    play.click()
    until(page, "!irsReplay.playing")
    assert slot_of(page) == SLOTS - 1
    play.click()  # from the beginning again
    until(page, "irsReplay.playing && irsReplay.slot < 30")


def test_pressing_play_quickly_leaves_one_clock(opened, records):
    page = opened(records)
    per_frame = page.evaluate("""() => new Promise((done) => {
      const tick = irsReplay.tick.bind(irsReplay);
      let ticks = 0, frames = 0;
      irsReplay.speed = 0.001;
      irsReplay.tick = (now) => { ticks++; tick(now); };
      for (let i = 0; i < 5; i++) irsReplay.toggle();
      const count = () => { if (++frames < 10) requestAnimationFrame(count); else done(ticks / frames); };
      requestAnimationFrame(count);
    })""")
    assert per_frame == pytest.approx(1, abs=0.2)


def test_keys(opened, records):
    page = opened(records)
    for key, slot in (
        ("ArrowRight", 1),
        ("Shift+ArrowRight", 11),
        ("ArrowLeft", 10),
        ("PageDown", 20),
        ("End", SLOTS - 1),
        ("ArrowRight", SLOTS - 1),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        page.keyboard.press(key)
        assert slot_of(page) == slot, key
    page.locator("#slot").focus()  # which has arrow keys of its own
    page.keyboard.press("ArrowRight")
    assert slot_of(page) == 1
    page.keyboard.press("Space")
    until(page, "irsReplay.playing && irsReplay.slot > 2")
    page.keyboard.press("Space")
    assert not page.evaluate("irsReplay.playing")


def test_a_chart_is_scrubbed(opened, records):
    page = opened(records)
    chart = page.locator("#difference-plot")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 40 + 0.26 * (box["width"] - 50), y)
    page.mouse.down()
    assert slot_of(page) == 10
    page.mouse.move(box["x"] + 40 + 0.76 * (box["width"] - 50), y)
    assert slot_of(page) == 30
    page.mouse.up()
    page.mouse.move(box["x"] + 40, y)
    assert slot_of(page) == 30


def test_what_is_marked_is_described(opened, records):
    page = opened(records)
    seek(page, 12)
    page.select_option("#pick", "irs-1")
    detail = page.locator(".detail").first
    bids = " ".join(f"BS {m} {b:+.2f}," for m, b in enumerate(records[0].bids[12, :, 1])).rstrip(",")
    assert detail.inner_text().replace("\u2212", "-").startswith(f"IRS 1: owner BS 1. Bids: {bids}.")
    over = np.where(records[0].rates[12] > 0.1, records[0].shares[12].sum(0), 0)
    k = int(over.argmax())  # of whose signal the most comes over IRSs
    page.mouse.click(*place(page, records[0].position[12, k]))
    assert page.locator("#pick").input_value() == f"user-{k}"
    assert f"User {k} of BS {records[0].cell[12, k]}: {records[0].rates[12, k]:.2f} bit/s/Hz" in detail.inner_text()
    direct = 100 * (1 - records[0].shares[12, :, k].sum())
    assert direct < 95
    shown = float(detail.inner_text().replace("\u2212", "-").split("direct ")[1].split(" %")[0])
    assert shown == pytest.approx(direct, abs=1.6)
    page.keyboard.press("Escape")
    assert page.locator("#pick").input_value() == ""


def test_charts_can_show_some_slots(opened, records):
    page = opened(records)
    page.select_option("#window", "20")
    seek(page, 30)
    assert page.evaluate("irsReplay.charts.map(chart => chart.range)")[0] == [20, 40]
    seek(page, 15)
    assert page.evaluate("irsReplay.charts.map(chart => chart.range)")[0] == [5, 25]


# --- screens and readers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("width", [320, 390])
def test_a_telephone_has_room(opened, records, count, width):
    size = {**PHONE, "width": width}
    page = opened(records[:count], size, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    for element in page.locator("button:visible, select:visible, input:visible, canvas:visible").all():
        box = element.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, element.evaluate("node => node.outerHTML")
    labels = [label.bounding_box() for label in page.locator(".choices label").all()]
    assert all(a["x"] + a["width"] <= b["x"] for a, b in pairwise(labels))
    page.locator("#forward").tap()
    assert slot_of(page) == 1
    ratio = page.locator("figure canvas").first.evaluate("canvas => canvas.width / canvas.clientWidth")
    assert ratio == pytest.approx(2, abs=0.01)  # sharp


def test_long_streets_fit_both_screens(opened):
    scenario = get_scenario("mdlbi-city-v0", horizon=3)
    pair = [replay.record(p, scenario) for p in ("structured-local-gain", "no-irs-rzf")]
    for size in (DESKTOP, PHONE):
        page = opened(pair, size)
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
        wide, high = page.locator("figure canvas").first.evaluate("c => [c.clientWidth, c.clientHeight]")
        assert (wide > 2 * high) == (size is DESKTOP)  # the street lies, or stands beside the other one
        apart = page.evaluate("irsReplay.maps[0].irsAt")
        side = page.evaluate("irsReplay.maps[0].irsSide")
        gaps = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for i, a in enumerate(apart) for b in apart[:i]]
        assert min(gaps) > side - 1  # numbers of panels that stand 2 m apart can be read
        assert page.said == []


# every text of the charts and the axes, by canvas: what it says, its left and right end, its middle, the canvas' width
TEXTS = """() => {
  const found = [], pen = CanvasRenderingContext2D.prototype, original = pen.fillText;
  let now = null;
  pen.fillText = function (text, x, y, room) {
    const wide = Math.min(this.measureText(text).width, room ?? Infinity);
    now.push([text, x - { left: 0, center: wide / 2, right: wide }[this.textAlign], wide, y]);
    return original.call(this, ...[...arguments].filter((each) => each !== undefined));
  };
  const { charts, maps } = irsReplay;
  for (const view of [...charts, ...maps]) {
    found.push([view.width || view.plan.width, (now = [])]);
    if (view.plan) view.drawStill();
    else view.layout(view.width, view.range);
  }
  pen.fillText = original;
  return found;
}"""


def wide_numbers():
    scenario = get_scenario(
        "mdlbi-small-v0",
        bs_positions_m=[(-1e5, -1e5, 10), (1e5, 1e5, 10)],
        irs_positions_m=[(0, 0, 5), (1e5, -1e5, 5)],
        horizon=6,
    )
    return [replay.record(p, scenario) for p in ("structured-local-gain", "structured-random")]


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("wide", [False, True])
def test_no_text_is_cut_or_covers_another_one(opened, records, width, wide):
    page = opened(wide_numbers() if wide else records, {"width": width, "height": 800})
    found = page.evaluate(TEXTS)
    assert sum(len(texts) for _, texts in found) > 80
    for canvas, texts in found:
        for i, (text, left, long, y) in enumerate(texts):
            assert left > -1, text
            assert left + long < canvas + 1, text
            for other, its_left, its_long, its_y in texts[:i]:
                apart = max(left - its_left - its_long, its_left - left - long) > 1 or abs(y - its_y) > 8
                assert apart, (text, other)


def test_names_from_right_to_left_turn_nothing_else(opened, records):
    page = opened([replace(record, policy=f"\u202e{record.policy}") for record in records])
    for name in ("h1", ".score .name span:last-child", "figcaption span:last-child", "h2.policy span:last-child"):
        for element in page.locator(name).all():
            assert element.evaluate("node => getComputedStyle(node).unicodeBidi") == "isolate"


def test_paper_is_white_and_has_no_controls(opened, records):
    page = opened(records, {"width": 700, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.evaluate("irsReplay.look.dark")
    assert min(shot(page, 5, 5)) > 240
    assert page.locator("button:visible, input:visible, select:visible").count() == 0
    assert page.locator("#now").is_visible()  # which slot this is
    assert page.locator("#controls").evaluate("node => getComputedStyle(node).position") == "static"
    page.evaluate("irsReplay.measure = () => {}")  # nothing is laid out anew for paper, which is narrower
    page.evaluate("document.querySelector('main').style.width = '400px'")
    assert max(box["width"] for box in (c.bounding_box() for c in page.locator(".chart canvas").all())) <= 400
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("irsReplay.look.dark")


def test_dark_and_light(opened, records):
    page = opened(records, color_scheme="dark")
    assert max(shot(page, 5, 5)) < 60
    page.locator("#theme").click()
    assert min(shot(page, 5, 5)) > 240
    page.keyboard.press("d")
    assert max(shot(page, 5, 5)) < 60
    page.emulate_media(color_scheme="light")
    assert min(shot(page, 5, 5)) > 240


def test_whoever_wants_calm_has_it(opened, records):
    page = opened(records, reduced_motion="reduce")
    assert page.locator("#speed").input_value() == "2"
    assert page.locator("#play").evaluate("node => getComputedStyle(node).transitionDuration") == "0s"
    page.wait_for_timeout(200)
    assert slot_of(page) == 0  # nothing moves by itself


def test_all_that_can_be_used_has_a_name(opened, records):
    page = opened(records)
    for element in page.locator("button, select, input, canvas[role=img]").all():
        name = element.evaluate("n => n.getAttribute('aria-label') || n.labels?.[0]?.innerText || n.innerText")
        assert name.strip(), element.evaluate("node => node.outerHTML")


# --- what is strange ------------------------------------------------------------------------------------------------


def test_names_stay_text(opened, records):
    name = "</script><b id=bad>x</b><img src=x onerror=alert(1)>"
    page = opened([replace(records[0], policy=name, title=name)])
    assert page.locator("#title").inner_text() == name
    assert page.locator(".score .name").inner_text() == name
    assert page.locator("#bad, main img").count() == 0
    page.wait_for_timeout(100)
    assert page.said == []
    assert page.locator("#difference").is_hidden()


def test_without_a_map_the_rest_is_shown(opened):
    rng = np.random.default_rng(0)

    def some(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * 1e-4

    channels = {"H": some(4, 2, 1, 4), "G": some(1, 2, 2, 16, 4), "h": some(4, 2, 1, 16)}
    scenario = get_scenario("mdlbi-small-v0", num_users=1, channels=channels, horizon=3)
    page = opened([replay.record(p, scenario) for p in ("structured-local-gain", "structured-random")])
    assert "There is no map" in page.locator("#maps").inner_text()
    assert page.locator("figure canvas").count() == 0
    seek(page, 2)
    page.select_option("#pick", "irs-1")
    assert "A: IRS 1: owner" in page.locator(".detail").first.inner_text()
    assert page.said == []


def test_one_user_and_no_irs(opened):
    scenario = get_scenario("mdlbi-small-v0", num_users=1, num_irs=0, horizon=3)
    page = opened(replay.record("structured-random", scenario), PHONE)
    seek(page, 2)
    assert "plays without IRSs" in page.locator(".panel").inner_text()
    assert page.said == []


def test_a_browser_that_cannot_unpack_says_so(browser, records, tmp_path: Path):
    replay.write(records, tmp_path / "replay.html")
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto((tmp_path / "replay.html").as_uri())
    page.wait_for_selector("#problem:not([hidden])")
    assert "cannot be shown here" in page.locator("#problem").inner_text()
    page.context.close()


def test_trails_of_few_and_of_many_users(opened):
    """Those of many are drawn another way, which is faster."""
    for users in (5, 40):
        scenario = get_scenario("mdlbi-small-v0", num_users=users, num_irs=0, horizon=9)
        page = opened(replay.record("structured-random", scenario))
        seek(page, 8)
        covered = """() => { const [map] = irsReplay.maps, { width, height } = map.canvas;
          map.pen.clearRect(0, 0, 2000, 2000); map.drawTrails(8);
          return map.pen.getImageData(0, 0, width, height).data.filter((x, i) => i % 4 === 3 && x > 30).length; }"""
        size = page.evaluate("irsReplay.maps[0].userRadius[0] * 0.42")
        dots = 8 * users * np.pi * size**2
        assert 0.4 * dots < page.evaluate(covered) < 2.5 * dots

"""Pages to look at and send: what they hold, read without a browser, and what a browser makes of them."""

from __future__ import annotations

import itertools
import json
import re
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tools.browsing.browser import browser, find_browser

from baselines import evaluate
from baselines.evaluation.recording import record
from baselines.report.page import save_comparison_page
from prema_gym.cli import main
from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError
from prema_gym.rendering import Kind, Recording, save_page
from prema_gym.rendering.export import page as pages
from prema_gym.rendering.export.episode_page import due_marks, lanes_of, packed, queue_stretches, slice_columns
from prema_gym.rendering.style import LEARNED_COLORS

SMALL = {"workload": {"num_tasks": 4, "models": ["CNN-AN", "CNN-MN"], "batches": [1, 4]}}
MOST_BYTES = 1_700_000
"""Of a page: Bokeh's library takes 1.3 MB of it."""
needs_browser = pytest.mark.skipif(
    find_browser() is None, reason="no browser of Chromium's family is installed: pages are only parsed"
)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [record(name, seed=5, **SMALL) for name in ("PREMA", "P-HPF-KILL")]


@pytest.fixture(scope="module")
def results():
    return evaluate(["NP-FCFS", "PREMA", "LEARNED-CMA"], 20)


class Parsed(HTMLParser):
    """A page's tags, text by tag, and addresses of what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.unclosed: list[str] = []
        self.loads: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "action") and value]
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"]
        if tag not in ("meta", "link", "br", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)


def parsed(path: Path) -> Parsed:
    found = Parsed(path.read_text(encoding="utf-8"))
    assert found.open == found.unclosed == []
    assert found.loads == []
    assert found.policy.startswith("default-src 'none';")  # whatever a script asks for, a browser refuses
    assert path.stat().st_size < MOST_BYTES
    return found


def documents(page: Parsed) -> dict:
    """Return Bokeh's documents, as the page holds them."""
    (text,) = [text for text in page.text["script"] if re.search(r"const docs_json = '", text)]
    quoted = re.search(r"const docs_json = '(.*?)';\n", text, re.DOTALL)[1]
    return json.loads(unescape(quoted.replace(r"\\", "\\")))


# --- Without a browser ------------------------------------------------------------------------------------------------------------


def test_a_page_of_an_episode_holds_metrics_every_slice_and_the_configuration(recordings, tmp_path):
    save_page(tmp_path / "deep" / "page.html", recordings)
    page = parsed(tmp_path / "deep" / "page.html")
    assert page.text["title"][0] == "".join(page.text["h1"])
    assert {"PREMA", "P-HPF-KILL", f"{recordings[0].metrics['antt']:.3f}"} <= set(page.text["td"])
    assert EnvConfig.coerce(json.loads("".join(page.text["pre"]))) == recordings[0].config
    held = json.dumps(documents(page))
    for recording in recordings:
        for part in recording.timeline.npu:
            assert part.kind is Kind.IDLE or f"{part.end_cycles:,}" in held


def test_bars_cover_every_slice_but_idle_time_to_the_cycle(recordings):
    tasks = list(enumerate(recordings[0].timeline.tasks))
    columns = slice_columns(recordings[0], tasks)
    slices = [part for _, lane in tasks for part in lane]
    assert len(columns["left"]) == len(slices)
    assert sorted(map(as_number, columns["start"])) == sorted(part.start_cycles for part in slices)
    assert sum(map(as_number, columns["cycles"])) == sum(recordings[0].age_cycles(task) for task, _ in tasks)
    assert len({len(column) for column in columns.values()}) == 1


def as_number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_queue_is_who_waits_at_every_moment(recordings):
    recording = recordings[1]
    stretches = queue_stretches(recording)
    assert (stretches[0][0], stretches[-1][1]) == (0, recording.end_cycles)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(stretches))
    waited = recording.timeline.cycles
    for task in range(4):
        assert sum(last - first for first, last, who in stretches if task in who) == waited(Kind.WAIT, task=task)
    for first, last, who in stretches:
        middle = (first + last) // 2
        lanes = enumerate(recording.timeline.tasks)
        there = {
            task
            for task, lane in lanes
            for part in lane
            if part.kind is Kind.WAIT and part.start_cycles <= middle < part.end_cycles
        }
        assert there == set(who)


def test_a_page_of_a_comparison_holds_tables_pictures_and_the_configuration(results, tmp_path):
    results.save_page(tmp_path / "page.html")
    page = parsed(tmp_path / "page.html")
    assert f"{results.mean('PREMA', 'stp'):.2f}" in " ".join(page.text["td"])
    assert EnvConfig.coerce(json.loads("".join(page.text["pre"]))) == results.config
    held = json.dumps(documents(page))
    assert f"{results.mean('NP-FCFS', 'antt'):.6g}" in held
    assert LEARNED_COLORS[0] in held


def test_requests_of_a_stream_share_lanes_without_an_overlap(tmp_path):
    assert packed([(0, 5), (2, 3), (3, 9), (5, 6), (6, 6)]) == [0, 1, 1, 0, 0]
    recording = record("WSRPT", seed=2, scenario="PremaStream-v0", horizon_requests=40)
    lanes = lanes_of(recording)
    assert len(lanes.labels) < 40
    for lane in set(lanes.tasks):
        own = [slices for place, slices in zip(lanes.tasks, recording.timeline.tasks, strict=True) if place == lane and slices]
        assert all(before[-1].end_cycles <= after[0].start_cycles for before, after in itertools.pairwise(own))
    due = [what for task in range(len(recording.tasks)) for _, _, what in due_marks(recording, task)]
    assert set(due) == {"deadline"}
    save_page(tmp_path / "page.html", [recording])
    page = parsed(tmp_path / "page.html")
    assert f"{recording.metrics['deadline_misses']:.1%}" in page.text["td"]
    assert "deadline missed" in json.dumps(documents(page)) or recording.metrics["deadline_misses"] == 0


def test_what_a_name_holds_is_text(recordings, tmp_path):
    import dataclasses

    hostile = dataclasses.replace(recordings[0], policy="</script><b>&\"'")
    save_page(tmp_path / "page.html", [hostile])
    page = parsed(tmp_path / "page.html")
    assert "</script><b>&\"'" in page.text["td"]
    assert "</script><b>&\"'" in json.dumps(documents(page), ensure_ascii=False).replace('\\"', '"')


def test_what_can_be_no_page_is_refused(tmp_path):
    import gymnasium as gym

    env = gym.make("prema_gym:Prema-v0", **SMALL)
    env.reset(seed=1)
    with pytest.raises(ConfigError, match="at least one"):
        save_page(tmp_path / "x.html", [])
    with pytest.raises(ConfigError, match="finished"):
        save_page(tmp_path / "x.html", [env.unwrapped.recording()])


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_a_missing_bokeh_is_named_before_anything_is_played(command, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(pages.importlib.util, "find_spec", lambda name: None)
    began = time.perf_counter()
    assert main([command, "--html", str(tmp_path / "x.html")]) == 2
    assert time.perf_counter() - began < 5
    assert capsys.readouterr().err == (
        f"error: {command} --html needs bokeh, which is not installed: pip install 'prema-gym[html]', or make install.\n"
    )


def test_the_commands_write_pages(tmp_path, capsys):
    small = ["--tasks", "4", "--models", "CNN-AN", "--quiet"]
    assert main(["simulate", *small, "--versus", "P-SJF", "--html", str(tmp_path / "simulate.html")]) == 0
    options = ["--episodes", "5", "--policies", "PREMA", "NP-FCFS", "--json", "--html", str(tmp_path / "compare.html")]
    assert main(["compare", *small, *options]) == 0
    assert "P-SJF" in parsed(tmp_path / "simulate.html").text["td"]
    page = parsed(tmp_path / "compare.html")
    assert "NP-FCFS" in page.text["td"]
    assert "One episode" in page.text["h2"]


# --- In a browser -----------------------------------------------------------------------------------------------------------------

PLACE = """(() => {
  const plot = Object.values(Bokeh.index)[%d];
  const box = plot.el.getBoundingClientRect(), inner = plot.frame.bbox;
  return {x: box.x + inner.left + plot.frame.x_scale.compute(%s) - inner.left, y: box.y + plot.frame.y_scale.compute(%s)};
})()"""
"""Where a point of a plot's data lies in the window."""
TIPS = """(() => {
  const found = [];
  const visit = root => root.querySelectorAll('*').forEach(element => {
    if (element.classList.contains('tip')) found.push(element.innerText);
    if (element.shadowRoot) visit(element.shadowRoot);
  });
  visit(document);
  return found.join('\\n');
})()"""
"""What the tooltips say."""
DRAWN = "window.Bokeh && Object.values(Bokeh.index).length >= %d && Bokeh.documents.every(d => d.is_idle)"


@needs_browser
def test_a_browser_draws_an_episode_zooms_and_says_exact_cycles(recordings, tmp_path):
    path = tmp_path / "page.html"
    save_page(path, recordings)
    recording = recordings[0]
    part = max((part for part in recording.timeline.tasks[1] if part.kind is Kind.EXECUTE), key=lambda part: part.cycles)
    with browser() as page:
        page.open(path)
        page.wait_for(DRAWN % 4)
        middle = recording.ms((part.start_cycles + part.end_cycles) / 2)
        spot = page.value(PLACE % (0, middle, 1))
        page.move(spot["x"], spot["y"])
        said = page.wait_for(TIPS)
        assert f"cycles {part.start_cycles:,} to {part.end_cycles:,}" in said
        assert f"#1 {recording.tasks[1]['model']}" in said
        spans = "Bokeh.documents[0].roots().map(plot => [plot.x_range.start, plot.x_range.end])"
        assert page.value(spans) == [[0, pytest.approx(max(r.ms(r.end_cycles) for r in recordings))]] * 4
        page.drag((spot["x"], spot["y"]), (spot["x"] + 60, spot["y"]))
        zoomed = page.wait_for(f"(spans => spans[0][0] > 0 && spans)({spans})")
        assert zoomed == [[pytest.approx(middle, rel=0.02), zoomed[0][1]]] * 4
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith(("file:", "data:"))] == []


@needs_browser
def test_a_browser_draws_a_comparison_and_says_exact_figures(results, tmp_path):
    path = tmp_path / "page.html"
    save_comparison_page(results, path)
    with browser() as page:
        page.open(path)
        page.wait_for(DRAWN % 6)
        mean = results.mean("PREMA", "antt")
        spot = page.value(PLACE % (0, mean, "'PREMA'"))
        page.move(spot["x"], spot["y"])
        said = page.wait_for(TIPS)
        assert f"ANTT: {mean:.6g}" in said
        assert "times better than NP-FCFS" in said
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith(("file:", "data:"))] == []

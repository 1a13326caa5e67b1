"""The site of documentation, opened as a folder of files: its search answers, its schemes change, nothing is fetched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools.browsing.browser import browser, find_browser

ROOT = Path(__file__).parents[2]
RESULTS = "[...document.querySelectorAll('.md-search-result__item a')].map(link => link.pathname.split('/').pop())"


@pytest.mark.skipif(find_browser() is None, reason="no browser of Chromium's family is installed: the site is only built")
def test_the_search_answers_without_a_server_and_the_dark_scheme_follows_the_system(tmp_path):
    build = [str(Path(sys.executable).parent / "mkdocs"), "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"}, check=True, timeout=300)
    with browser() as page:
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        page.open(tmp_path / "index.html")
        page.wait_for("document.body.dataset.mdColorScheme == 'slate'")
        page.value("document.querySelector('[title=\"To the light scheme\"]').click()")
        page.wait_for("document.body.dataset.mdColorScheme == 'default'")
        page.value("document.querySelector('.md-search__input').focus()")
        page.type("perfetto")
        assert "pictures.html" in page.wait_for(f"(found => found.length && found)({RESULTS})")
        assert page.complaints == []
        assert [address for address in page.requested if not address.startswith(("file:", "data:"))] == []

# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/api-ref are what the API says of itself now."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[4]
WHERE = ROOT / "docs" / "api-ref"


def test_pages_are_current():
    made = runpy.run_path(str(ROOT / "tools" / "api_ref.py"))["pages"]()
    assert {page.name for page in WHERE.glob("*.md")} == set(made), "run: make api-ref"
    for name, text in made.items():
        assert (WHERE / name).read_text() == text, f"{name} is old; run: make api-ref"

# SPDX-License-Identifier: Apache-2.0
"""What unit tests of several packages share."""

import pytest


@pytest.fixture
def engine(tmp_path):
    """An alarm database of its own, empty, in SQLite."""
    from tests.service.alarm_support import open_database  # Heat's environment has none of it

    engine = open_database(tmp_path / "db.sqlite")
    yield engine
    engine.dispose()

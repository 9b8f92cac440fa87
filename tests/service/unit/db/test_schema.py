# SPDX-License-Identifier: Apache-2.0
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tests.service.alarm_support import make_alarm, open_database
from thermostat.cmd import dbsync
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.mapping import to_row
from thermostat.db.outbox import Outbox
from thermostat.db.schema import (
    SchemaError,
    check_schema,
    current_version,
    expected_version,
    upgrade,
)
from thermostat.db.tables import METADATA
from thermostat.db.writing import writer


@pytest.fixture
def configuration(tmp_path):
    path = tmp_path / "thermostat.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/alarms.sqlite\n")
    return ["--config-file", str(path)]


def test_migrations_make_the_tables_that_the_code_uses(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_an_empty_database_is_refused_with_advice(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/db.sqlite")
    with pytest.raises(SchemaError, match=r"version none.*run thermostat-dbsync"):
        check_schema(engine)
    engine.dispose()


def test_a_newer_database_is_refused(engine):
    with writer(engine).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match=r"9999.*newer release"):
        check_schema(engine)


def test_commits_are_on_disk(tmp_path):
    engine = open_database(tmp_path / "db.sqlite")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()


class TestDbsync:
    def test_upgrades_once(self, configuration, capsys):
        assert dbsync.main([*configuration, "--check"]) == 1
        assert "run thermostat-dbsync" in capsys.readouterr().err
        assert dbsync.main(configuration) == 0
        assert f"from version none to {expected_version()}" in capsys.readouterr().out
        assert dbsync.main(configuration) == 0
        assert "up to date" in capsys.readouterr().out
        assert dbsync.main([*configuration, "--check"]) == 0

    def test_says_why_it_cannot(self, tmp_path, capsys):
        path = tmp_path / "t.conf"
        path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/missing/a.sqlite\n")
        assert dbsync.main(["--config-file", str(path)]) == 1
        assert "unable to open database file" in capsys.readouterr().err
        assert dbsync.main(["--config-file", "/nonexistent.conf"]) == 1
        assert "/nonexistent.conf" in capsys.readouterr().err


def test_version_of_an_upgraded_database(engine):
    check_schema(engine)
    assert current_version(engine) == expected_version()


def test_alarms_of_the_first_release_are_kept(database_url):
    engine = open_engine(database_url)
    upgrade(engine, "0001")
    row = {
        name: value
        for name, value in to_row(make_alarm()).items()
        if name not in ("judged_us", "rule_states", "suppressed")
    }
    with writer(engine).begin() as connection:
        columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO alarm ({columns}) VALUES ({values})"), row)
    upgrade(engine)
    alarms = AlarmRepository(engine)
    assert alarms.find("a1") == make_alarm()
    assert list(alarms.standing()) == [make_alarm().standing]
    alarms.note_judged(1)
    assert alarms.judged_us() == 1
    engine.dispose()


def test_secrets_leave_an_older_history(database_url):
    engine = open_engine(database_url)
    upgrade(engine, "0004")
    url = "https://heat.example/v1/signal?Timestamp=1&Signature=s3cret"
    details = [
        f'{{"type":"threshold","alarm_actions":["{url}"],"ok_actions":[],"name":"é"}}',
        '{"name":"calm"}',
        '{"alarm_actions":["https://heat.example/v1/signal"]}',
        '{"state":"alarm","transition_reason":"https://x/?a=b"}',
    ]
    row = text(
        "INSERT INTO alarm_history (event_id, alarm_id, type, detail, on_behalf_of, severity,"
        " timestamp_us) VALUES (:id, 'a1', :type, :detail, 'p1', 'low', 1)"
    )
    kinds = ("creation", "rule change", "rule change", "state transition")
    with writer(engine).begin() as connection:
        for number in range(2500):
            of = number % 4
            values = {"id": f"e{number}", "type": kinds[of], "detail": details[of]}
            connection.execute(row, values)
    upgrade(engine)
    wanted = [details[0].replace("s3cret", "***"), *details[1:]]
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT detail FROM alarm_history ORDER BY position")).all()
    assert [one.detail for one in kept] == [wanted[number % 4] for number in range(2500)]
    engine.dispose()


def test_what_an_older_release_left_pending_is_delivered(database_url):
    engine = open_engine(database_url)
    upgrade(engine, "0005")
    row = (
        "INSERT INTO notification (notification_id, alarm_id, project_id, action, target,"
        " request_id, body, status, attempts, created_us, next_attempt_us) VALUES"
        " (:id, 'a1', 'p1', :url, 'x', 'req-1', '{}', 'pending', 0, 1, 1)"
    )
    urls = ("trust+https://x/", "https://x/", "http://x/", "log://")
    with writer(engine).begin() as connection:
        for url in urls:
            connection.execute(text(row), {"id": url, "url": url})
    upgrade(engine)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT scheme, action FROM notification")).all()
    assert sorted(found) == sorted((url.partition(":")[0], url) for url in urls)
    assert {one.action for one in Outbox(engine).due(2, 9)} == set(urls)
    engine.dispose()

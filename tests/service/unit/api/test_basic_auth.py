# SPDX-License-Identifier: Apache-2.0
"""Samples with HTTP Basic: what Ceilometer's `http` publisher can do."""

import base64
import logging
import pathlib
import re
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import bcrypt
import pytest
import yaml
from falcon.testing import TestClient
from oslo_config import cfg

from tests.service.alarm_requests import fault
from thermostat.api import htpasswd
from thermostat.api.app import create_app
from thermostat.api.htpasswd import PasswordFile, PasswordFileError, Passwords, TooManyTries
from thermostat.api.publishers import SAMPLE_PATHS
from thermostat.cmd import htpasswd as command

SAMPLE = {
    "name": "cpu_util", "type": "gauge", "unit": "%", "volume": 3.5, "user_id": None,
    "project_id": "p1", "resource_id": "r1", "resource_metadata": {}, "source": "openstack",
    "timestamp": "2026-11-25T01:00:00", "id": "i1", "monotonic_time": None,
}  # fmt: skip
PASSWORD = "s3cret:with a colon"


def hashed(password, rounds=4):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


def basic(name, password):
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "publishers"
    path.write_text(f"# who sends samples\nceilometer:{hashed(PASSWORD)}\n")
    return path


@pytest.fixture
def make_client(services, tmp_path):
    def make(users, *, behind_proxy=False):
        path = tmp_path / "thermostat.conf"
        path.write_text(
            "[keystone_authtoken]\nwww_authenticate_uri = http://127.0.0.1:9/v3\n"
            f"[ingest]\nbasic_auth_user_file = {users}\n"
            f"[oslo_middleware]\nenable_proxy_headers_parsing = {behind_proxy}\n"
        )
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[str(path)], default_config_dirs=[])
        app = create_app(services, conf)
        return TestClient(lambda environ, start_response: app(environ, start_response))  # noqa: PLW0108

    return make


@pytest.fixture
def client(make_client, users):
    return make_client(users)


def post(client, path="/v1/samples", **options):
    return client.simulate_post(path, json=[SAMPLE], remote_addr="127.0.0.1", **options)


class TestRight:
    @pytest.mark.parametrize("path", ["/v1/samples", "/v2/samples", "/v1/samples/"])
    def test_samples_may_be_sent(self, client, path):
        answer = post(client, path, headers=basic("ceilometer", PASSWORD))
        assert (answer.status_code, answer.json) == (201, {"accepted": 1})

    @pytest.mark.parametrize(
        ("name", "password"),
        [("ceilometer", "wrong"), ("nobody", PASSWORD), ("", ""), ("ceilometer", "a\0b")],
    )
    def test_only_with_the_password(self, client, name, password):
        answer = post(client, headers=basic(name, password))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "wrong" in fault(answer)

    @pytest.mark.parametrize("value", ["Basic", "Basic ", "Basic !!!", "Basic bm9jb2xvbg==", "Foo"])
    def test_broken_headers_are_401(self, client, value):
        assert post(client, headers={"Authorization": value}).status_code == 401

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v2/alarms"),
            ("POST", "/v2/alarms"),
            ("GET", "/v2/samples"),
            ("PUT", "/v2/samples"),
            ("GET", "/v2/meters/cpu_util/statistics"),
            ("POST", "/v2/samples/../alarms"),
            ("POST", "/v2/samples/x"),
        ],
    )
    def test_nothing_else_may_be_done(self, client, method, path):
        headers = basic("ceilometer", PASSWORD)
        assert client.simulate_request(method, path, headers=headers).status_code == 401

    def test_it_is_off_by_default(self, make_client):
        client = make_client("")
        assert post(client, headers=basic("ceilometer", PASSWORD)).status_code == 401

    def test_a_request_cannot_bring_an_identity_of_its_own(self, client, monkeypatch):
        seen = []
        monkeypatch.setattr(
            "thermostat.api.samples.authorize", lambda _e, req, _r: seen.append(req.env)
        )
        forged = {"X-Roles": "admin", "X-Project-Id": "p", "X-User-Id": "root", "X-Role": "admin",
                  "OpenStack-System-Scope": "all", "X-Service-Roles": "admin"}  # fmt: skip
        assert post(client, headers=basic("ceilometer", PASSWORD) | forged).status_code == 201
        (environ,) = seen
        identity = {k: v for k, v in environ.items() if k.startswith(("HTTP_X_", "HTTP_OPENSTACK"))}
        assert identity == {
            "HTTP_X_IDENTITY_STATUS": "Confirmed",
            "HTTP_X_ROLES": "service",
            "HTTP_X_USER_ID": "basic:ceilometer",
            "HTTP_X_USER_NAME": "ceilometer",
        }

    def test_a_token_goes_before_a_password(self, client):
        headers = basic("ceilometer", PASSWORD) | {"X-Auth-Token": "t"}
        assert post(client, headers=headers).status_code in {401, 503}

    def test_passwords_are_not_logged(self, client, caplog):
        with caplog.at_level(logging.DEBUG):
            post(client, headers=basic("ceilometer", PASSWORD))
            post(client, headers=basic("ceilometer", "h1dden"))
            post(client, headers=basic("m1styped-password", "h1dden"))
        assert "'ceilometer' from 127.0.0.1 failed" in caplog.text
        for secret in (PASSWORD, "h1dden", "m1styped-password", "Authorization"):
            assert secret not in caplog.text

    def test_outcomes_are_counted(self, client):
        post(client, headers=basic("ceilometer", PASSWORD))
        post(client, headers=basic("ceilometer", "wrong"))
        text = client.simulate_get("/metrics").text
        assert 'thermostat_basic_auth_total{outcome="accepted"} 1.0' in text
        assert 'thermostat_basic_auth_total{outcome="refused"} 1.0' in text


class TestTheFile:
    @pytest.mark.parametrize(
        "line",
        ["ceilometer", "ceilometer:plain", "ceilometer:$apr1$x$y", ":" + hashed("x"), "a:$2y$05$x"],
        ids=["no colon", "no hash", "other hash", "no name", "short hash"],
    )
    def test_the_server_does_not_start_with_a_broken_one(self, make_client, users, line):
        users.write_text(f"good:{hashed('x')}\n{line}\n")
        with pytest.raises(cfg.Error, match="line 2") as refusal:
            make_client(users)
        assert line not in str(refusal.value)

    def test_nor_without_it(self, make_client, tmp_path):
        with pytest.raises(cfg.Error, match="No such file"):
            make_client(tmp_path / "none")

    def test_changes_hold_at_once(self, client, users):
        headers = basic("ceilometer", PASSWORD)
        assert post(client, headers=headers).status_code == 201
        users.write_text(f"other:{hashed('x')}\n")
        assert post(client, headers=headers).status_code == 401
        assert post(client, headers=basic("other", "x")).status_code == 201

    def test_nobody_is_let_in_while_it_is_broken(self, client, users, caplog):
        headers = basic("ceilometer", PASSWORD)
        assert post(client, headers=headers).status_code == 201
        users.unlink()
        answer = post(client, headers=headers)
        assert (answer.status_code, bool(answer.headers["retry-after"])) == (503, True)
        assert str(users) not in fault(answer)
        assert str(users) in caplog.text

    def test_a_long_password_counts_as_far_as_htpasswd_reads_it(self, tmp_path):
        path = tmp_path / "users"
        path.write_text(f"u:{hashed('x' * 72)}\n")
        assert Passwords(PasswordFile(str(path))).verify("u", b"x" * 100, "a")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class TestCost:
    @pytest.fixture
    def tried(self, monkeypatch):
        """The passwords that bcrypt was asked about."""
        tried = []

        def is_password(password, hash_):
            tried.append(password)
            return bcrypt.checkpw(password, hash_)

        monkeypatch.setattr(htpasswd, "is_password", is_password)
        return tried

    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def passwords(self, users, clock):
        return Passwords(PasswordFile(str(users)), clock)

    def test_a_right_password_is_remembered_for_some_minutes(self, passwords, tried, clock):
        for now in (0, 299, 598):
            clock.now = now
            assert passwords.verify("ceilometer", PASSWORD.encode(), "a")
        assert len(tried) == 1
        clock.now = 898
        assert passwords.verify("ceilometer", PASSWORD.encode(), "a")
        assert len(tried) == 2

    def test_a_wrong_one_costs_one_bcrypt_a_minute(self, passwords, tried, clock):
        for now in (0, 30, 59):
            clock.now = now
            assert not passwords.verify("ceilometer", b"wrong", "a")
        assert len(tried) == 1
        clock.now = 60
        assert not passwords.verify("ceilometer", b"wrong", "a")
        assert len(tried) == 2

    def test_an_address_fails_five_times_a_minute(self, passwords, tried, clock):
        for number in range(5):
            assert not passwords.verify("ceilometer", b"%d" % number, "evil")
        clock.now = 20
        with pytest.raises(TooManyTries) as refusal:
            passwords.verify("ceilometer", PASSWORD.encode(), "evil")
        assert refusal.value.retry_after_s == 40
        assert passwords.verify("ceilometer", PASSWORD.encode(), "good")
        assert passwords.verify("ceilometer", PASSWORD.encode(), "evil"), "what is known is known"
        assert len(tried) == 6

    def test_all_addresses_together_fail_thirty_times(self, passwords, tried):
        assert passwords.verify("ceilometer", PASSWORD.encode(), "good")
        for number in range(30):
            passwords.verify("ceilometer", b"wrong %d" % number, f"evil {number}")
        with pytest.raises(TooManyTries):
            passwords.verify("ceilometer", b"x", "evil 31")
        assert passwords.verify("ceilometer", PASSWORD.encode(), "good"), "it goes on sending"
        assert len(tried) == 31

    def test_many_senders_at_once_wait_for_one_bcrypt(self, passwords, tried):
        found = []
        threads = [
            threading.Thread(
                target=lambda: found.append(passwords.verify("ceilometer", PASSWORD.encode(), "a"))
            )
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (found, len(tried)) == ([True] * 16, 1)

    def test_few_threads_wait_for_bcrypt(self, passwords, monkeypatch):
        begin, go_on = threading.Semaphore(0), threading.Event()

        def slow(_password, _hash):
            begin.release()
            go_on.wait(10)
            return False

        monkeypatch.setattr(htpasswd, "is_password", slow)
        threads = [
            threading.Thread(target=passwords.verify, args=("ceilometer", b"%d" % one, f"a{one}"))
            for one in range(htpasswd.MOST_PENDING)
        ]
        for thread in threads:
            thread.start()
        begin.acquire()
        while len(passwords._pending) < htpasswd.MOST_PENDING:
            time.sleep(0.001)
        with pytest.raises(TooManyTries):
            passwords.verify("ceilometer", b"x", "b")
        go_on.set()
        for thread in threads:
            thread.join()

    def test_a_user_who_is_not_there_takes_as_long(self, users, tried):
        """Else the time would tell names apart."""
        users.write_text(f"ceilometer:{hashed(PASSWORD, rounds=10)}\n")
        passwords = Passwords(PasswordFile(str(users)))
        took = {"ceilometer": [], "nobody": []}
        for number in range(3):
            for name, times in took.items():
                begun = time.thread_time()
                passwords.verify(name, b"%d" % number, f"{name} {number}")
                times.append(time.thread_time() - begun)
        assert len(tried) == 6
        assert min(took["nobody"]) > 0.5 * min(took["ceilometer"])

    @pytest.mark.parametrize("behind_proxy", [False, True])
    def test_a_sender_cannot_name_its_address(self, make_client, users, behind_proxy):
        """A proxy appends what it sees to the list; what stands before is the sender's word."""
        client = make_client(users, behind_proxy=behind_proxy)
        for number in range(6):
            forged = {"X-Forwarded-For": f"10.0.0.{number}, 192.0.2.1"}
            answer = post(client, headers={**basic("ceilometer", f"{number}"), **forged})
        assert answer.status_code == 429

    def test_throttled_requests_are_429(self, client):
        for number in range(5):
            post(client, headers=basic("ceilometer", f"{number}"))
        answer = post(client, headers=basic("ceilometer", "6"))
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        fault(answer)


class TestDocs:
    TEXT = (pathlib.Path(__file__).parents[4] / "docs" / "ceilometer.md").read_text()

    def test_the_server_s_setting(self, services, users, tmp_path):
        (example,) = re.findall(r"```ini\n(.*?)```", self.TEXT, re.DOTALL)
        assert example.count("/etc/thermostat/publishers") == 1
        conf = self.configured(tmp_path, example.replace("/etc/thermostat/publishers", str(users)))
        app = create_app(services, conf)
        client = TestClient(lambda environ, start_response: app(environ, start_response))  # noqa: PLW0108
        assert post(client, headers=basic("ceilometer", PASSWORD)).status_code == 201

    def configured(self, tmp_path, text):
        path = tmp_path / "thermostat.conf"
        path.write_text(f"[keystone_authtoken]\nwww_authenticate_uri = http://127.0.0.1:9\n{text}")
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[str(path)], default_config_dirs=[])
        return conf

    def test_ceilometer_s_url(self):
        role, pipeline = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", self.TEXT, re.DOTALL))
        (url,) = pipeline["sinks"][0]["publishers"]
        assert urlsplit(url).path in SAMPLE_PATHS
        assert urlsplit(url).username in role["thermostat_server_publishers"]


class TestCommand:
    def run(self, *arguments, typed=""):
        done = subprocess.run(
            [sys.executable, "-m", "thermostat.cmd.htpasswd", *map(str, arguments)],
            input=typed, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def test_it_makes_a_file_that_the_server_takes(self, make_client, tmp_path):
        path = tmp_path / "users"
        status, said, _ = self.run(path, "ceilometer", typed=f"{PASSWORD}\n")
        assert (status, said) == (0, f"{path} was changed.\n")
        assert path.stat().st_mode & 0o777 == 0o640
        assert post(make_client(path), headers=basic("ceilometer", PASSWORD)).status_code == 201

    def test_only_what_is_wanted_is_written(self, tmp_path, monkeypatch, capsys):
        path = tmp_path / "users"
        path.write_text(f"old:{hashed('x')}\nkept:{hashed('p')}\n")
        path.chmod(0o600)
        before = path.read_text().splitlines()[1]

        def run(*arguments, typed=()):
            monkeypatch.setattr("sys.stdin", typed)
            assert command.main([str(path), *arguments]) == 0
            return capsys.readouterr().out

        lines = ["kept:p\n", "new:q:r\n"]
        assert "was changed" in run("--only-from-stdin", typed=lines)
        after = path.read_text()
        assert after.splitlines()[0] == before
        assert after.splitlines()[1].startswith("new:$2b$")
        assert path.stat().st_mode & 0o777 == 0o600
        assert "as wanted" in run("--only-from-stdin", typed=lines)
        assert path.read_text() == after
        assert "was changed" in run("--delete", "new")
        assert list(PasswordFile(str(path)).read()[0]) == ["kept"]

    @pytest.mark.parametrize("typed", ["a:\n", ":p\n", "#a:p\n", "a\tb:p\n", "nocolon\n"])
    def test_bad_users_are_refused(self, tmp_path, typed):
        path = tmp_path / "users"
        status, _, said = self.run(path, "--only-from-stdin", typed=typed)
        assert status == 1
        assert said.startswith("thermostat-htpasswd: ")
        assert not path.exists()

    def test_a_broken_file_is_left_alone(self, tmp_path):
        path = tmp_path / "users"
        path.write_text("broken\n")
        status, _, said = self.run(path, "a", typed="p\n")
        assert (status, path.read_text()) == (1, "broken\n")
        assert "line 1" in said
        with pytest.raises(PasswordFileError):
            PasswordFile(str(path))

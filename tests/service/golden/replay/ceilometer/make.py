# SPDX-License-Identifier: Apache-2.0
"""Writes this directory's files with Ceilometer's own classes (PyPI ceilometer 27.0.0).

    python -m venv v && v/bin/pip install ceilometer && v/bin/python make.py DIRECTORY

Two guests of one group, polled every minute: web-1 becomes busy, web-2 stays idle. Beside them a
sample that came from a notification, with an offset in its timestamp and metadata of its own.
"""

import datetime
import sys
from pathlib import Path
from urllib import parse

from ceilometer import service
from ceilometer.publisher.file import FilePublisher
from ceilometer.sample import TYPE_CUMULATIVE, TYPE_GAUGE, Sample

BEGIN = datetime.datetime(2026, 3, 2, 9, 0, 0, 274572)
SHARES = {"web-1": [0.2, 0.2, 0.3, 0.9, 0.95, 0.9, 0.92, 0.3], "web-2": [0.1] * 8}


def metadata(name, zone):
    return {
        "display_name": name,
        "name": f"instance-0000000{name[-1]}",
        "instance_id": f"5f1c0a52-0000-4000-8000-00000000000{name[-1]}",
        "flavor": {"id": "1", "name": "m1.small", "vcpus": 2, "ram": 2048, "disk": 20},
        "vcpus": 2,
        "memory_mb": 2048,
        "status": "active",
        "image": None,
        "image_ref": None,
        "availability_zone": zone,
        "user_metadata": {"server_group": "web"},
    }


def cpu(name, minute, seconds):
    return Sample(
        name="cpu",
        type=TYPE_CUMULATIVE,
        unit="ns",
        volume=int(seconds * 1e9),
        user_id="alice",
        project_id="p1",
        resource_id=f"5f1c0a52-0000-4000-8000-00000000000{name[-1]}",
        timestamp=(BEGIN + datetime.timedelta(minutes=minute)).isoformat(),
        resource_metadata=metadata(name, "nova"),
        monotonic_time=9000.25 + 60 * minute,
        id=f"00000000-0000-1000-8000-{name[-1]}{minute:011d}",
    )


def power(minute, when):
    return Sample(
        name="hardware.ipmi.power",
        type=TYPE_GAUGE,
        unit="W",
        volume=231.5,
        user_id=None,
        project_id=None,
        resource_id="node-7-pwr_supply",
        timestamp=when,
        resource_metadata={
            "node": "node-7",
            "note": 'says "it\'s hot", Grüße\nand a second line',
            "provisioned": datetime.datetime(2026, 1, 5, 7, 30, tzinfo=datetime.UTC),
            "states": ["enabled", None, True],
        },
        source="hardware",
        id=f"00000000-0000-1000-8000-900000000{minute:03d}",
    )


def publish(path, query, samples):
    conf = service.prepare_service([], [])
    url = parse.urlsplit(f"file://{path}{query}")
    FilePublisher(conf, url).publish_samples(samples)


def main(directory):
    samples = []
    used = dict.fromkeys(SHARES, 1000.0)
    for minute in range(9):
        for name, shares in SHARES.items():
            used[name] += 2 * 60 * shares[minute - 1] if minute else 0
            samples.append(cpu(name, minute, used[name]))
    notified = power(4, "2026-03-02T10:04:10.500000+01:00")
    publish(directory / "meters", "?max_bytes=6000&backup_count=5", [*samples, notified])
    notified.resource_metadata["provisioned"] = "2026-01-05T07:30:00+00:00"
    publish(directory / "meters.json", "?json", [*samples, notified])


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())

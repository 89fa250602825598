"""Disks that run full, on small file systems of their own: refused meanwhile, nothing lost.

Mounting takes root; anybody else skips these.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from metering.models import MeterEvent
from tests.faults.cluster import Cluster, own_cluster, served
from tests.faults.conftest import set_up_acme
from tests.faults.rig import (
    Event,
    Sender,
    an_event,
    assert_books_hold,
)

pytestmark = [pytest.mark.integration, pytest.mark.long]


@contextmanager
def _small_disk(mebibytes: int) -> Iterator[Path]:
    """Mount a file system that is soon full."""
    folder = Path(tempfile.mkdtemp(prefix="billing-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("mounting a small file system takes root, and a machine that permits it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def _grow(folder: Path, mebibytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", str(folder)], check=True)


def _event(name: str) -> Event:
    properties = {"model": "haiku", "tokens": "100", "note": "x" * 900}
    return an_event(name, properties=properties)


def _send_until_full(sender: Sender) -> list[str]:
    """Send batches until one is refused; return what was acknowledged."""
    acked: list[str] = []
    for serial in range(2000):
        names = [f"full-{serial}-{n}" for n in range(200)]
        events = [_event(name) for name in names]
        try:
            answer = sender.post({"events": events})
        except OSError:
            return acked
        if answer.status != 200:
            assert answer.status == 503, answer.content
            assert "Retry-After" in answer.headers
            return acked
        acked += names
    raise AssertionError("the disk did not run full")


def _assert_acked(cluster: Cluster, acked: list[str]) -> None:
    cluster.start()
    connection.close()
    stored = list(MeterEvent.objects.values_list("identifier", flat=True))
    assert len(stored) == len(set(stored))
    assert set(acked) <= set(stored)


def test_i18_a_full_disk_refuses_what_it_cannot_store_and_goes_on_once_there_is_room(
    django_db_blocker: DjangoDbBlocker,
) -> None:
    with (
        django_db_blocker.unblock(),
        _small_disk(160) as disk,
        tempfile.TemporaryDirectory(prefix="billing-wal-") as elsewhere,
        own_cluster(disk / "data") as cluster,
    ):
        _move_wal(cluster, Path(elsewhere))
        set_up_acme()
        with served() as (_, sender, _):
            acked = _send_until_full(sender)
            assert acked
            assert cluster.embedded.is_running(), "a full heap is no reason to stop"
            assert sender.post(an_event("still-full")).status in {200, 503}

            _grow(disk, 512)  # Not before: a new connection needs room itself.
            _assert_acked(cluster, acked)
            assert sender.deliver(an_event("room-again")).status == 200
            again = [_event(name) for name in acked[:50]]
            assert sender.post({"events": again}).content["duplicates"] == 50
        _assert_acked(cluster, [*acked, "room-again"])
        assert_books_hold()


def test_i19_a_full_wal_may_stop_postgresql_but_loses_nothing(
    django_db_blocker: DjangoDbBlocker,
) -> None:
    with (
        django_db_blocker.unblock(),
        own_cluster() as cluster,
        _small_disk(96) as disk,
    ):
        _move_wal(cluster, disk)
        set_up_acme()
        with served() as (_, sender, _):
            acked = _send_until_full(sender)
            assert acked
            time.sleep(1)

            _grow(disk, 1024)
            cluster.start()  # If it panicked.
            assert sender.deliver(an_event("room-again")).status == 200
        _assert_acked(cluster, [*acked, "room-again"])
        assert_books_hold()
        _move_wal_back(cluster)


def _move_wal(cluster: Cluster, folder: Path) -> None:
    """Put pg_wal on another file system; PostgreSQL follows the link."""
    connection.close()
    cluster.embedded.stop()
    wal, owner = cluster.data / "pg_wal", cluster.data.stat()
    folder.chmod(0o755)
    place = folder / "pg_wal"
    shutil.copytree(wal, place)
    for path in (place, *place.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    place.chmod(0o700)
    shutil.rmtree(wal)
    wal.symlink_to(place)
    cluster.start()


def _move_wal_back(cluster: Cluster) -> None:
    """Take pg_wal off a file system that is about to go."""
    connection.close()
    cluster.embedded.stop()
    wal = cluster.data / "pg_wal"
    place = wal.resolve()
    wal.unlink()
    shutil.copytree(place, wal)

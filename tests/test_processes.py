import os
import signal
import socket
import subprocess
import sys

import pytest

from compass_ray import processes

FAMILY = """
import os, signal, subprocess, sys
if len(sys.argv) > 1:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setpgid(0, 0)
else:
    subprocess.Popen([sys.executable, __file__, "stubborn child in a group of its own"])
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def family(tmp_path):
    """Start a leader and a child that leaves the process group and ignores SIGTERM."""
    program = tmp_path / "family.py"
    program.write_text(FAMILY)
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert [leader.stdout.readline() for _ in range(2)] == [b"up\n", b"up\n"]
        yield leader
        processes.end(leader.pid, grace=0.0)


def test_a_session_is_found_whatever_its_process_groups(family):
    found = processes.members(family.pid)

    assert family.pid in found
    assert len(found) == 2


def test_an_orphan_still_belongs_to_its_session(family):
    family.kill()
    family.wait()

    assert len(processes.members(family.pid)) == 1


def test_what_does_not_end_when_asked_is_killed(family):
    processes.end(family.pid, grace=0.2)

    assert processes.members(family.pid) == []
    assert family.wait() == -signal.SIGTERM


def test_ending_one_session_leaves_others_alone(family):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        processes.end(family.pid, grace=0.2)

        assert other.poll() is None
        other.kill()


@pytest.mark.server
def test_the_listener_of_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        owner = processes.listener(server.getsockname()[1])

    assert owner.endswith(f"(process {os.getpid()})")


@pytest.mark.server
def test_a_connection_that_outlives_its_listener_is_none():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = server.accept()

    with client, connection:
        assert processes.listener(port) == ""

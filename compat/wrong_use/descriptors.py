"""Too few file descriptors, really reached: a server that cannot accept any more neither ends nor spins, and serves again once there are some."""
import socket
import time

from harness import Failed, free_port, wait_port

# Descriptors that a server may have, and connections that somebody holds: more than it can take.
OPEN_FILES = 200
CONNECTIONS = 400
# How long it is watched while it can take none, and processor time that is no spinning.
WATCHED_S = 2
CPU_SHARE_MAX = 0.25
RECOVERS_S = 20


def exhausted(world, line, port, asks):
    """Starts a server with few descriptors, takes them all, and gives them back. `asks(port)` says whether it serves."""
    process = world.start(f"bash -c 'ulimit -n {OPEN_FILES}; exec {line}'")
    try:
        process.wait_line(r"ready in \d+ ms")
        wait_port(int(port), process=process)
        if not asks(port):
            raise Failed("it does not serve")
        held = hold(port)
        try:
            before = cpu_s(process)
            time.sleep(WATCHED_S)
            used = cpu_s(process) - before
            if asks(port):
                raise Failed(f"{CONNECTIONS} connections did not take its {OPEN_FILES} descriptors")
        finally:
            for connection in held:
                connection.close()
        if process.process.poll() is not None:
            raise Failed(f"it ended\n{process.tail()}")
        if used > CPU_SHARE_MAX * WATCHED_S:
            raise Failed(f"it used {used:.2f} s of processor time in {WATCHED_S} s")
        deadline = time.monotonic() + RECOVERS_S
        while not asks(port):
            if time.monotonic() > deadline:
                raise Failed(f"it does not serve {RECOVERS_S} s after the descriptors are free again\n{process.tail()}")
            time.sleep(0.1)
        said = [line for line in process.err if "Too many open files" in line]
        if len(said) != 1:
            raise Failed(f"it says so {len(said)} times: {said[:5]}")
    finally:
        process.stop()


def hold(port):
    """Connections that are open and say nothing. Those that the server cannot take wait in the kernel."""
    held = []
    for _ in range(CONNECTIONS):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", int(port)))
        held.append(connection)
    return held


def cpu_s(process):
    fields = open(f"/proc/{process.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def says_mode(port):
    """A keeper's four-letter word."""
    return answer(port, b"srvr").find(b"Mode: ") >= 0


def says_versions(port):
    """A broker's ApiVersions, version 0."""
    return len(answer(port, bytes.fromhex("0000000a" "0012" "0000" "00000001" "ffff"))) > 8


def answer(port, question):
    try:
        with socket.create_connection(("127.0.0.1", int(port)), 1) as connection:
            connection.settimeout(1)
            connection.sendall(question)
            return connection.recv(4096)
    except OSError:
        return b""


def checks(world):
    """(name, function, arguments) of each."""
    keeper, broker = str(free_port()), str(free_port())
    zookeeper = world.real["2181"]
    (world.checkout / "config/few.properties").write_text(f"dataDir=data/few-keeper\nclientPort={keeper}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n")
    few = f"bin/kafka-server-start.sh config/server.properties --override listeners=PLAINTEXT://localhost:{broker} --override zookeeper.connect=localhost:{zookeeper}/few"
    yield "a keeper out of descriptors", exhausted, (world, "bin/zookeeper-server-start.sh config/few.properties", keeper, says_mode)
    yield "a broker out of descriptors", exhausted, (world, f"{few} --override log.dirs=data/few-1 --override http.listener=none", broker, says_versions)

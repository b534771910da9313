"""Runs crosscheck.py against a keeper of ours and Debian's ZooKeeper: a few seeds, many with --nightly."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "oracle")]
import apache
from harness import PROGRAM, Checks, Failed, Workspace, free_port, run, wait_port

STEPS = 1500


def same_replies(ours, reference, seed):
    code, out, err = run([sys.executable, HERE / "crosscheck.py", ours, reference, "--seed", seed, "--steps", STEPS], seconds=200)
    if code != 0:
        raise Failed(out[-2000:] + err[-2000:])


def main():
    seeds = range(1, 41) if "--nightly" in sys.argv[1:] else range(1, 4)
    checks = Checks()
    why_not = apache.zookeeper_missing()
    if why_not:
        checks.skip(f"{len(seeds)} seeds of random requests", why_not)
        checks.close()
    with Workspace("crosscheck") as workspace:
        ours, reference = free_port(), free_port()
        properties = workspace.properties("zookeeper.properties", {"clientPort": ours, "dataDir": workspace.path / "keeper", "tickTime": 2000})
        wait_port(ours, process=workspace.start([PROGRAM, "zookeeper-server-start", properties]))
        apache.start_zookeeper38(workspace, reference)
        for seed in seeds:
            checks.check(f"{STEPS} random requests, seed {seed}", same_replies, ours, reference, seed)
    checks.close()


if __name__ == "__main__":
    main()

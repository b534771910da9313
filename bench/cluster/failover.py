"""How long topics of many partitions take to be created, and how long they are without a leader when a leader or the controller is killed."""
import statistics
import time

from servers import BROKERS, SESSION_S, Cluster, wait_for
from markdown import table

TOPIC = "many"


def measure(work, options):
    rows = []
    for partitions in options.partitions:
        created, leader, controller, again, cpu = [], [], [], [], []
        for number in range(options.rounds):
            cluster = Cluster(work / f"failover-{partitions}-{number}")
            try:
                before = cluster.cpu_s()
                created.append((cluster.create(TOPIC, partitions, BROKERS), known_everywhere(cluster, partitions)))
                cpu.append(sum(cluster.cpu_s().values()) - sum(before.values()))
                # A broker that holds its file open has nothing to catch up with: what follows is the failover alone.
                time.sleep(2)
                leader.append(kill_and_wait(cluster, partitions, is_controller=False))
                again.append(come_back(cluster, partitions))
                controller.append(kill_and_wait(cluster, partitions, is_controller=True))
            finally:
                cluster.stop()
        median = lambda values: f"{statistics.median(values):.2f}"
        rows.append((f"{partitions:,}", median([answer for answer, _ in created]), median([known for _, known in created]), median(cpu),
                     median(leader), median(controller), median(again)))
    table(("partitions", "s until CreateTopics answers", "s until every broker shows all led", "CPU s of all four",
           "s beyond the session time-out: leader", "controller", "s until a killed broker serves again"), *rows)


def known_everywhere(cluster, partitions):
    """Seconds until every broker shows all partitions led and in sync; the clock starts when CreateTopics was answered."""
    began = time.monotonic()
    for broker in cluster.brokers:
        wait_for("the topic is known", lambda: cluster.metadata(broker).is_in_sync(TOPIC, partitions, BROKERS))
    return time.monotonic() - began


def kill_and_wait(cluster, partitions, is_controller):
    """Kills the controller, or a broker that is none, and gives the seconds beyond the session time-out until another broker shows every partition led."""
    controller = cluster.metadata(min(cluster.brokers)).controller
    victim = next(broker for broker in cluster.brokers if (broker == controller) == is_controller)
    cluster.kill(victim)
    killed = time.monotonic()
    cluster.killed = victim
    witness = min(cluster.brokers)
    # Nothing can change before the session is over; asking would only take CPU from those who work.
    time.sleep(SESSION_S * 0.6)
    wait_for("all partitions are led by others", lambda: cluster.metadata(witness).is_led(TOPIC, partitions, cluster.brokers))
    return time.monotonic() - killed - SESSION_S


def come_back(cluster, partitions):
    """Starts the killed broker again; seconds until it answers, and then until all is in sync."""
    began = time.monotonic()
    cluster.start_broker(cluster.killed)
    wait_for("the broker serves again", lambda: len(cluster.metadata(cluster.killed).brokers) == BROKERS)
    served = time.monotonic() - began
    wait_for("all is in sync", lambda: cluster.metadata(cluster.killed).is_in_sync(TOPIC, partitions, BROKERS))
    return served

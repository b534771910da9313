"""The measuring tools: ours and Apache 0.9.0.1's print lines of one shape, digits apart, and each runs on our servers."""
import re

from harness import Failed, expect, run

RECORDS = 20_000
SUMMARY = re.compile(
    rf"{RECORDS} records sent, \d+\.\d{{6}} records/sec \(\d+\.\d\d MB/sec\), \d+\.\d\d ms avg latency, \d+\.\d\d ms max latency, "
    r"\d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.")


def shape(text):
    """Digits are all alike, and however many, and so are the words that stand for a number by zero."""
    return re.sub(r"Infinity|NaN|\d+", "N", text)


def produced(tool, topic, broker):
    """What the producer's tool prints; windows of five seconds, which a slow machine may need, left out."""
    code, out, err = run(tool("kafka-producer-perf-test", "--topic", topic, "--num-records", str(RECORDS), "--record-size", "100", "--throughput", "-1",
                              "--producer-props", f"bootstrap.servers=127.0.0.1:{broker}", "acks=1"))
    expect(code, 0, f"the exit code of kafka-producer-perf-test (stderr {err[-300:]!r})")
    *windows, summary = out.splitlines()
    if not SUMMARY.fullmatch(summary):
        raise Failed(f"the last line is {summary!r}")
    return summary


def consumed(tool, topic, *words):
    """What the consumer's tool prints of everything in the topic."""
    code, out, err = run(tool("kafka-consumer-perf-test", "--topic", topic, "--messages", str(RECORDS), *words))
    expect(code, 0, f"the exit code of kafka-consumer-perf-test (stderr {err[-300:]!r})")
    lines = out.splitlines()
    return lines


def check(ours, apache_tool, topic, zookeeper, broker):
    """`apache_tool` is none where Apache's cannot be had; then only ours is held against the pattern."""
    tools = [tool for tool in (ours, apache_tool) if tool]
    expect(len({shape(produced(tool, topic, broker)) for tool in tools}), 1, "the number of shapes of the producer's summary")
    forms = [("--zookeeper", f"127.0.0.1:{zookeeper}", "--threads", "1"), ("--new-consumer", "--broker-list", f"127.0.0.1:{broker}")]
    for form in forms:
        header, summary = consumed(ours, topic, *form)
        expect(header, "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec", "the header")
        expect(summary.split(", ")[4], str(RECORDS), "the number of records read")
        if apache_tool:
            expect([shape(line) for line in consumed(apache_tool, topic, *form)][:2], [shape(header), shape(summary)], "the shape of Apache's lines")
    *_, last = consumed(ours, topic, *forms[0], "--show-detailed-stats", "--reporting-interval", str(RECORDS // 4))
    expect(shape(last), "N-N-N N:N:N:N, N, N.N, N.N, N, N.N", "the shape of a detailed line")
    if apache_tool:
        detailed = consumed(apache_tool, topic, *forms[0], "--show-detailed-stats", "--reporting-interval", str(RECORDS // 4))
        expect(shape(detailed[-1]), shape(last), "the shape of Apache's detailed line")
    header, summary = consumed(ours, topic, "--bootstrap-server", f"127.0.0.1:{broker}")
    expect(len(header.split(", ")), 10, "today's columns")
    expect(shape(summary), "N-N-N N:N:N:N, N-N-N N:N:N:N, N.N, N.N, N, N.N, N, N, N.N, N.N", "the shape of today's line")

"""A member of a consumer group in a process of its own, which can be killed: it reads, notes, and commits what it has read; a copier also writes it on.

Each thing it does is a line of JSON on stdout, flushed before the next thing is done. SIGTERM ends it in good order.
"""
import argparse
import json
import signal
import sys
import time

import confluent_kafka
from confluent_kafka import KafkaException, TopicPartition

BATCH = 200
POLL_S = 0.2
ending = False


def say(f, **fields):
    sys.stdout.write(json.dumps({"f": f, "time": time.monotonic(), **fields}) + "\n")
    sys.stdout.flush()


def key_of(partition):
    return f"{partition.topic}-{partition.partition}"


def end(*_):
    global ending
    ending = True


def confirm(consumer, positions):
    """Commits and waits; says so before and after. Gives whether it was confirmed."""
    invoked = time.monotonic()
    asked = [TopicPartition(topic, partition, offset) for (topic, partition), offset in positions.items()]
    for place in asked:
        say("commit", type="invoke", key=key_of(place), offset=place.offset, invoked=invoked)
    try:
        done = consumer.commit(offsets=asked, asynchronous=False)
    except KafkaException as error:
        say("refused", what=str(error))
        return False
    for place in done:
        if place.error is None:
            say("commit", type="ok", key=key_of(place), offset=place.offset, invoked=invoked)
    return all(place.error is None for place in done)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("settings", help="JSON of the consumer's settings")
    options.add_argument("topic")
    options.add_argument("--copy-to")
    options.add_argument("--producer", help="JSON of the producer's settings")
    options = options.parse_args()
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    passing = set(json.loads(options.settings).pop("passing"))
    settings = {key: value for key, value in json.loads(options.settings).items() if key != "passing"}
    consumer = confluent_kafka.Consumer(settings)
    producer = confluent_kafka.Producer(json.loads(options.producer)) if options.producer else None
    positions, records = {}, []

    def read():
        if records:
            say("poll", records=records)
            records.clear()

    def assigned(_, partitions):
        read()
        say("subscribe", keys=[key_of(place) for place in partitions])

    def revoked(_, partitions):
        # What was read and not committed is read again by whoever gets it.
        read()
        for place in partitions:
            positions.pop((place.topic, place.partition), None)
        say("revoked", keys=[key_of(place) for place in partitions])

    consumer.subscribe([options.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    say("started")
    while not ending:
        undelivered, count = [], 0
        until = time.monotonic() + POLL_S
        # One by one: where partitions move in the middle of a batch, `revoked` forgets the positions of those read before it, and no later one comes.
        while count < BATCH and (left := until - time.monotonic()) > 0:
            message = consumer.poll(left)
            if message is None:
                break
            if message.error() is not None:
                if message.error().code() not in passing:
                    say("error", what=str(message.error()))
                continue
            records.append([f"{message.topic()}-{message.partition()}", message.offset(), int(message.value())])
            positions[message.topic(), message.partition()] = message.offset() + 1
            count += 1
            if producer:
                producer.produce(options.copy_to, message.value(), partition=message.partition(),
                                 on_delivery=lambda error, _: undelivered.append(str(error)) if error else None)
        read()
        if producer and (producer.flush(60) or undelivered):
            # Nothing of this batch is committed, so the group reads it again, with another member in this one's place.
            say("error" if producer.flush(0) else "gave-up", what=f"copies were not delivered: {undelivered[:3]}")
            break
        if positions and confirm(consumer, positions):
            positions.clear()
    consumer.close()
    say("ended")


if __name__ == "__main__":
    main()

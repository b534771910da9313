// produce: how many records librdkafka puts into one partition, and what that costs the broker.
//
//   produce --port 9092 --topic t --size 100 --count 5000000 --broker-pid PID
//   produce --port 9092 --topic t --size 100 --count 8000 --rate 1000 --linger 0 --warmup 500 --broker-pid PID
//
// Without --rate it sends as fast as the client can; with --rate so many records a second, each at its time, and every latency is from the call to the acknowledgement.
// --acks (-1), --linger in ms (5), --timeout in s (60), --set name=value for librdkafka's own settings.
#define _GNU_SOURCE
#include "librdkafka.h"

#define BATCH 500

static int size = 100;
static int64_t count = 1000000, warmup;
static double rate, timeout_s = 60;
static const char *acks = "-1", *linger_ms = "5";

static rd_kafka_t *producer;
static rd_kafka_topic_t *topic;
static char *payload;
static struct latencies latencies;
static int64_t acknowledged;

static int own_option(const char *name, const char *value) {
    if (!strcmp(name, "--size")) size = atoi(value);
    else if (!strcmp(name, "--count")) count = atoll(value);
    else if (!strcmp(name, "--warmup")) warmup = atoll(value);
    else if (!strcmp(name, "--rate")) rate = atof(value);
    else if (!strcmp(name, "--acks")) acks = value;
    else if (!strcmp(name, "--linger")) linger_ms = value;
    else if (!strcmp(name, "--timeout")) timeout_s = atof(value);
    else return take_setting(name, value);
    return 1;
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client, (void)opaque;
    if (message->err) fail("a record was not delivered: %s", rd_kafka_err2str(message->err));
    acknowledged++;
    if (message->_private) note_latency(&latencies, now_us() - (int64_t)(intptr_t)message->_private);
}

static void poll_producer(int timeout_ms) {
    rd_kafka_poll(producer, timeout_ms);
}

// Each record at its time.
static void send_paced(int64_t records) {
    int64_t began = now_us();
    for (int64_t sent = 0; sent < records; sent++) {
        wait_until_us(began + (int64_t)((double)sent * 1e6 / rate), poll_producer);
        void *called_at = (void *)(intptr_t)now_us();
        if (rd_kafka_produce(topic, 0, 0, payload, (size_t)size, NULL, 0, called_at) != 0) fail("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(producer, 0);
    }
}

// As fast as the client takes them; the latency of one record in a hundred is noted.
static void send_all(int64_t records) {
    static rd_kafka_message_t messages[BATCH];
    int64_t limit = now_us() + (int64_t)(timeout_s * 1e6);
    for (int64_t sent = 0; sent < records;) {
        int wanted = records - sent < BATCH ? (int)(records - sent) : BATCH;
        void *called_at = (void *)(intptr_t)now_us();
        for (int at = 0; at < wanted; at++) {
            messages[at] = (rd_kafka_message_t){.payload = payload, .len = (size_t)size};
            if ((sent + at) % 100 == 0) messages[at]._private = called_at;
        }
        int taken = rd_kafka_produce_batch(topic, 0, 0, messages, wanted);
        sent += taken;
        if (taken < wanted && messages[taken].err != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail("produce: %s", rd_kafka_err2str(messages[taken].err));
        rd_kafka_poll(producer, taken < wanted ? 5 : 0);
        if (now_us() > limit) fail("%lld of %lld records sent after %.0f s", (long long)sent, (long long)records, timeout_s);
    }
}

static void send_and_flush(int64_t records) {
    acknowledged = 0;
    if (rate > 0) send_paced(records);
    else send_all(records);
    rd_kafka_flush(producer, (int)(timeout_s * 1000));
    if (acknowledged != records) fail("%lld of %lld records acknowledged", (long long)acknowledged, (long long)records);
}

int main(int argc, char **argv) {
    struct options options = read_options(argc, argv, own_option);
    payload = payload_new(size);
    latencies = latencies_new((size_t)(count + warmup));
    producer = producer_new(&options, acks, linger_ms, delivered);
    topic = rd_kafka_topic_new(producer, options.topic, NULL);
    await_topic(producer, topic);
    if (warmup > 0) send_and_flush(warmup);
    latencies.count = 0;
    struct run run = begin_run(options.broker);
    send_and_flush(count);
    sort_latencies(&latencies);
    end_run(&run, "produce", (double)count, (double)count * size, &latencies);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    return 0;
}

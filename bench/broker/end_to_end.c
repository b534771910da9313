// end_to_end: from the producer's call to the consumer's hands, at a steady rate.
//
//   end_to_end --port 9092 --topic t --size 100 --rate 1000 --count 8000 --broker-pid PID
//
// Each record carries the time of its call; the first eighth of them is not counted. --set name=value for librdkafka's own settings.
#define _GNU_SOURCE
#include <pthread.h>

#include "librdkafka.h"

// Sent and read before anything is counted, so that connections and queues are there.
#define WARMUP 50

static int size = 100;
static int64_t count = 8000;
static double rate = 1000;
static rd_kafka_t *producer;
static struct latencies latencies;

static int own_option(const char *name, const char *value) {
    if (!strcmp(name, "--size")) size = atoi(value);
    else if (!strcmp(name, "--count")) count = atoll(value);
    else if (!strcmp(name, "--rate")) rate = atof(value);
    else return take_setting(name, value);
    return 1;
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client, (void)opaque;
    if (message->err) fail("a record was not delivered: %s", rd_kafka_err2str(message->err));
}

static void poll_producer(int timeout_ms) {
    rd_kafka_poll(producer, timeout_ms);
}

static void *consume(void *consumer) {
    for (int64_t read = 0; read < WARMUP + count; read++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 10000);
        if (!message) fail("no record for 10 s after %lld of them", (long long)read);
        if (message->err) fail("consume: %s", rd_kafka_message_errstr(message));
        int64_t called_at;
        memcpy(&called_at, message->payload, sizeof called_at);
        if (read >= WARMUP + count / 8) note_latency(&latencies, now_us() - called_at);
        rd_kafka_message_destroy(message);
    }
    return NULL;
}

static void send_record(rd_kafka_topic_t *topic, char *payload) {
    int64_t called_at = now_us();
    memcpy(payload, &called_at, sizeof called_at);
    if (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, payload, (size_t)size, NULL, 0, NULL) != 0) fail("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_poll(producer, 0);
}

int main(int argc, char **argv) {
    struct options options = read_options(argc, argv, own_option);
    if (size < 8) fail("--size must be 8 at least, for the time");
    latencies = latencies_new((size_t)count);
    char *payload = payload_new(size);
    producer = producer_new(&options, "-1", "0", delivered);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, options.topic, NULL);
    await_topic(producer, topic);

    rd_kafka_conf_t *conf = conf_new(&options);
    set(conf, "group.id", "bench-end-to-end");
    set(conf, "enable.auto.commit", "false");
    set(conf, "fetch.wait.max.ms", "500");
    set(conf, "fetch.min.bytes", "1");
    set(conf, "fetch.error.backoff.ms", "1");
    rd_kafka_t *consumer = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, options.topic, 0)->offset = 0;
    rd_kafka_assign(consumer, partitions);
    pthread_t reader;
    if (pthread_create(&reader, NULL, consume, consumer) != 0) fail("no thread");

    for (int sent = 0; sent < WARMUP; sent++) send_record(topic, payload);
    rd_kafka_flush(producer, 10000);
    usleep(500000);
    struct run run = begin_run(options.broker);
    for (int64_t sent = 0; sent < count; sent++) {
        wait_until_us(run.began_us + (int64_t)((double)sent * 1e6 / rate), poll_producer);
        send_record(topic, payload);
    }
    rd_kafka_flush(producer, 10000);
    pthread_join(reader, NULL);
    sort_latencies(&latencies);
    end_run(&run, "end_to_end", (double)count, (double)count * size, &latencies);
    _exit(0);
}

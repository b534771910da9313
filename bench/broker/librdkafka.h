// librdkafka as the load programs use it: one setting per line, and no patience with errors.
#ifndef BENCH_LIBRDKAFKA_H
#define BENCH_LIBRDKAFKA_H

#include <librdkafka/rdkafka.h>

#include "measure.h"

#define EXTRA_SETTINGS_MAX 32

// `-X`-like settings that the caller adds to every client: --set name=value.
static char *extra_settings[EXTRA_SETTINGS_MAX];
static int extra_settings_count;

static inline int take_setting(const char *name, const char *value) {
    if (strcmp(name, "--set") != 0) return 0;
    if (extra_settings_count == EXTRA_SETTINGS_MAX || !strchr(value, '=')) fail("--set wants name=value, %d times at most", EXTRA_SETTINGS_MAX);
    extra_settings[extra_settings_count++] = strdup(value);
    return 1;
}

static inline void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) fail("%s=%s: %s", name, value, why);
}

static inline rd_kafka_conf_t *conf_new(const struct options *options) {
    char servers[64];
    snprintf(servers, sizeof servers, "%s:%d", options->host, options->port);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", servers);
    set(conf, "broker.address.family", "v4");
    set(conf, "log_level", "0");
    for (int at = 0; at < extra_settings_count; at++) {
        char *copy = strdup(extra_settings[at]), *equals = strchr(copy, '=');
        *equals = 0;
        set(conf, copy, equals + 1);
        free(copy);
    }
    return conf;
}

static inline rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char why[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
    if (!client) fail("%s", why);
    return client;
}

// Asks for the topic's metadata, which makes a broker create it, until its partition has a leader.
static inline void await_topic(rd_kafka_t *client, rd_kafka_topic_t *topic) {
    int64_t limit = now_us() + 15 * 1000000LL;
    while (now_us() < limit) {
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(client, 0, topic, &metadata, 5000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            int ready = metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt == 1 && metadata->topics[0].partitions[0].leader >= 0;
            rd_kafka_metadata_destroy(metadata);
            if (ready) return;
        }
        usleep(50000);
    }
    fail("topic %s has no leader after 15 s", rd_kafka_topic_name(topic));
}

// A producer as the figures want it: batches up to 1 MB, nothing compressed, room for everything that is queued.
static inline rd_kafka_t *producer_new(const struct options *options, const char *acks, const char *linger_ms, void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *)) {
    rd_kafka_conf_t *conf = conf_new(options);
    set(conf, "linger.ms", linger_ms);
    set(conf, "batch.size", "1000000");
    set(conf, "batch.num.messages", "1000000");
    set(conf, "queue.buffering.max.messages", "2000000");
    set(conf, "queue.buffering.max.kbytes", "1048576");
    set(conf, "request.required.acks", acks);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    return client_new(RD_KAFKA_PRODUCER, conf);
}

// Something to send that does not compress by accident.
static inline char *payload_new(int size) {
    char *payload = malloc((size_t)size + 16);
    srand(7);
    for (int at = 0; at < size; at++) payload[at] = (char)(33 + rand() % 90);
    return payload;
}

#endif

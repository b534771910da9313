// idle: what connections and consumers cost a broker that have nothing to do.
//
//   idle --port 9092 --topic t --connections 1000 --consumers 100 --seconds 5 --broker-pid PID
//
// Opens so many connections that each ask once for ApiVersions and then are silent, and so many that wait in a Fetch at the end of an empty topic for longer than the
// measurement lasts (a consumer whose wait is over asks again; that is the client's own pace and is not idleness). Prints the broker's CPU per cent meanwhile, then the
// round trip of ApiVersions among all of them.
#define _GNU_SOURCE
#include <sys/resource.h>

#include "wire.h"

static int connections = 1000, consumers = 100, seconds = 5;

static int own_option(const char *name, const char *value) {
    if (!strcmp(name, "--connections")) connections = atoi(value);
    else if (!strcmp(name, "--consumers")) consumers = atoi(value);
    else if (!strcmp(name, "--seconds")) seconds = atoi(value);
    else return 0;
    return 1;
}

static void ask_api_versions(int connection) {
    uint8_t room[16384];
    struct writer request = begin_request(room, API_VERSIONS, 0, 1);
    end_frame(&request, 0);
    if (send_all_flags(connection, room, written(&request), 0) != 0) fail("the broker closed the connection");
    receive_response(connection, room, sizeof room);
}

static void begin_waiting(int connection, const char *topic) {
    uint8_t room[1024];
    struct writer request = begin_request(room, FETCH, 4, 1);
    put32(&request, -1), put32(&request, (seconds + 60) * 1000), put32(&request, 1), put32(&request, 1 << 20), put8(&request, 0);
    put32(&request, 1), put_string(&request, topic), put32(&request, 1), put32(&request, 0), put64(&request, 0), put32(&request, 1 << 20);
    end_frame(&request, 0);
    if (send_all_flags(connection, room, written(&request), 0) != 0) fail("the broker closed the connection");
}

int main(int argc, char **argv) {
    struct options options = read_options(argc, argv, own_option);
    rlim_t wanted = (rlim_t)(connections + consumers) + 100;
    struct rlimit descriptors = {wanted, wanted};
    if (setrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail("%d descriptors: %s", (int)wanted, strerror(errno));
    await_topic_raw(&options);
    int last = -1;
    for (int at = 0; at < connections; at++) ask_api_versions(last = dial(&options));
    for (int at = 0; at < consumers; at++) begin_waiting(dial(&options), options.topic);
    // Buffers are given back after a second of silence; what comes then is idleness.
    sleep(3);
    double before = cpu_of(options.broker);
    sleep((unsigned)seconds);
    double percent = (cpu_of(options.broker) - before) / seconds * 100;
    struct latencies latencies = latencies_new(5000);
    for (int at = 0; last >= 0 && at < 5000; at++) {
        int64_t asked_at = now_us();
        ask_api_versions(last);
        note_latency(&latencies, now_us() - asked_at);
    }
    sort_latencies(&latencies);
    printf("{\"mode\":\"idle\",\"connections\":%d,\"consumers\":%d,\"broker_cpu_percent\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"broker_rss_mb\":%.1f}\n", connections, consumers,
           percent, percentile_ms(&latencies, 50), percentile_ms(&latencies, 99), (double)memory_kb_of(options.broker, "VmRSS") / 1024);
    return 0;
}

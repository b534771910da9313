// What every load program needs: the time, what a broker process has cost so far, latencies, and the one line of JSON at the end.
//
// A broker's cost is its CPU seconds, user and system, of all its threads, as /proc/PID/stat has them (10 ms steps: let a step take long enough).
// A program that could not do what it was asked says why on stderr and exits with 1: there is no figure of a load that failed.
#ifndef MEASURE_H
#define MEASURE_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static inline int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(1);
}

// CPU seconds of a process so far; 0 without a process.
static inline double cpu_of(pid_t pid) {
    if (pid == 0) return 0;
    char path[64], text[2048];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) fail("process %d is gone", pid);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    // The name of the program stands in brackets and may hold anything; what follows the last bracket is regular.
    char *rest = strrchr(text, ')');
    unsigned long user = 0, system = 0;
    const char *fields = "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu";
    if (!rest || sscanf(rest + 2, fields, &user, &system) != 2) fail("cannot read %s", path);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

// Resident memory of a process in kB, as /proc/PID/status has it under `key` (VmRSS, VmHWM).
static inline long memory_kb_of(pid_t pid, const char *key) {
    if (pid == 0) return 0;
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    long kb = 0;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key))) sscanf(line + strlen(key) + 1, "%ld", &kb);
    if (file) fclose(file);
    return kb;
}

// Latencies of one run, in microseconds.
struct latencies {
    uint32_t *us;
    size_t count, capacity;
};

static inline struct latencies latencies_new(size_t capacity) {
    struct latencies made = {malloc((capacity + 1) * sizeof(uint32_t)), 0, capacity};
    if (!made.us) fail("no memory for %zu latencies", capacity);
    return made;
}

static inline void note_latency(struct latencies *latencies, int64_t us) {
    if (latencies->count == latencies->capacity) return;
    latencies->us[latencies->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static inline int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

// Sorts the latencies, after which percentile_ms may be asked.
static inline void sort_latencies(struct latencies *latencies) {
    qsort(latencies->us, latencies->count, sizeof(uint32_t), compare_u32);
}

static inline double percentile_ms(const struct latencies *latencies, double percent) {
    if (latencies->count == 0) return 0;
    size_t at = (size_t)(percent / 100 * (double)latencies->count);
    return latencies->us[at < latencies->count ? at : latencies->count - 1] / 1000.0;
}

// A load on one broker: what was sent or read in which time, and what it cost the broker.
struct run {
    pid_t broker;
    double cpu_before;
    int64_t began_us;
};

static inline struct run begin_run(pid_t broker) {
    return (struct run){broker, cpu_of(broker), now_us()};
}

// Prints the line of a run that is over. `latencies` must be sorted.
static inline void end_run(const struct run *run, const char *mode, double messages, double bytes, const struct latencies *latencies) {
    double seconds = (double)(now_us() - run->began_us) / 1e6, cpu = cpu_of(run->broker) - run->cpu_before;
    printf("{\"mode\":\"%s\",\"messages\":%.0f,\"bytes\":%.0f,\"seconds\":%.3f,\"messages_per_s\":%.0f,\"MB_per_s\":%.1f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"broker_cpu_s\":%.2f,\"broker_cpu_s_per_GB\":%.3f,\"broker_cpu_percent\":%.2f,"
           "\"broker_rss_mb\":%.1f}\n",
           mode, messages, bytes, seconds, messages / seconds, bytes / seconds / 1e6, percentile_ms(latencies, 50), percentile_ms(latencies, 99),
           percentile_ms(latencies, 99.9), cpu, bytes > 0 ? cpu / (bytes / 1e9) : 0, cpu / seconds * 100,
           (double)memory_kb_of(run->broker, "VmRSS") / 1024);
    fflush(stdout);
}

// The options all programs share; `option` takes what is left.
struct options {
    const char *host;
    int port;
    const char *topic;
    pid_t broker;
};

// Reads `--name value` pairs. A program's own option is handed to `own`, which says whether it knows it.
static inline struct options read_options(int count, char **words, int (*own)(const char *name, const char *value)) {
    struct options options = {"127.0.0.1", 9092, "bench", 0};
    for (int at = 1; at < count; at += 2) {
        const char *name = words[at], *value = at + 1 < count ? words[at + 1] : NULL;
        if (!value) fail("%s needs a value", name);
        if (!strcmp(name, "--port")) options.port = atoi(value);
        else if (!strcmp(name, "--topic")) options.topic = value;
        else if (!strcmp(name, "--broker-pid")) options.broker = atoi(value);
        else if (!own(name, value)) fail("unknown option %s", name);
    }
    return options;
}

// Waits until `due`, precisely: sleeps while it is far, spins at the end.
static inline void wait_until_us(int64_t due, void (*meanwhile)(int timeout_ms)) {
    int64_t left;
    while ((left = due - now_us()) > 0) {
        if (meanwhile) meanwhile(left > 1200 ? 1 : 0);
        else if (left > 1200) usleep(1000);
        if (left <= 1200 && left > 60) usleep(50);
    }
}

#endif

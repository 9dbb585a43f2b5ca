/* What the hub tells of itself, in the text format that Prometheus reads. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "app/hub.h"
#include "coap/coap.h"

static void family(FILE *f, const char *name, const char *type, const char *help) {
    fprintf(f, "# HELP iot_hub_%s %s\n# TYPE iot_hub_%s %s\n", name, help, name, type);
}

static const char *const kinds[HUB_KINDS_SHOWN] = {"x509", "psk", "none"};

static void put_handshakes(FILE *f, const struct hub *h) {
    family(f, "handshakes_total", "counter", "TLS handshakes of peers that were let in.");
    for (size_t i = 0; i < h->listener_count; i++) {
        const struct hub_listener *l = &h->listeners[i];

        for (unsigned n = 0; n < HUB_VERSIONS * HUB_KINDS_SHOWN * 2; n++) {
            const unsigned v = n / 2 / HUB_KINDS_SHOWN, k = n / 2 % HUB_KINDS_SHOWN, r = n % 2;

            if (l->tally.handshakes[v][k][r] > 0)
                fprintf(f,
                        "iot_hub_handshakes_total{listener=\"%s\",version=\"%s\",kind=\"%s\","
                        "resumed=\"%s\"} %llu\n",
                        l->name, hub_version_name(v), kinds[k], r ? "true" : "false",
                        (unsigned long long)l->tally.handshakes[v][k][r]);
        }
    }
}

static void put_refused(FILE *f, const struct hub *h) {
    family(f, "refused_total", "counter", "Peers that were not let in.");
    for (size_t i = 0; i < h->listener_count; i++) {
        for (unsigned v = HUB_ACCEPTED + 1; v < HUB_VERDICTS; v++) {
            if (h->listeners[i].tally.refused[v] > 0)
                fprintf(f, "iot_hub_refused_total{listener=\"%s\",reason=\"%s\"} %llu\n",
                        h->listeners[i].name, hub_verdict_name(v),
                        (unsigned long long)h->listeners[i].tally.refused[v]);
        }
    }
}

static uint64_t accepted(const struct hub_tally *t) {
    uint64_t n = 0;

    for (unsigned v = 0; v < HUB_VERSIONS; v++) {
        for (unsigned k = 0; k < HUB_KINDS_SHOWN; k++)
            n += t->handshakes[v][k][0] + t->handshakes[v][k][1];
    }
    return n;
}

static void put_times(FILE *f, const struct hub *h) {
    static const char name[] = "iot_hub_handshake_seconds";

    family(f, "handshake_seconds", "histogram",
           "From the first byte to the last message, the device's time included.");
    for (size_t i = 0; i < h->listener_count; i++) {
        const struct hub_listener *l = &h->listeners[i];
        unsigned long long sum = 0, all = accepted(&l->tally);

        if (l->kind == HUB_METRICS)
            continue;
        for (unsigned b = 0; b < HUB_TIME_BUCKETS; b++) {
            sum += l->tally.faster[b];
            fprintf(f, "%s_bucket{listener=\"%s\",le=\"%g\"} %llu\n", name, l->name,
                    hub_time_bucket_us[b] / 1e6, sum);
        }
        fprintf(f,
                "%s_bucket{listener=\"%s\",le=\"+Inf\"} %llu\n%s_sum{listener=\"%s\"} %.6f\n"
                "%s_count{listener=\"%s\"} %llu\n",
                name, l->name, all, name, l->name, (double)l->tally.us / 1e6, name, l->name, all);
    }
    family(f, "handshake_seconds_max", "gauge", "The slowest one since the start.");
    for (size_t i = 0; i < h->listener_count; i++) {
        if (h->listeners[i].kind != HUB_METRICS)
            fprintf(f, "%s_max{listener=\"%s\"} %.6f\n", name, h->listeners[i].name,
                    (double)h->listeners[i].tally.us_max / 1e6);
    }
}

static unsigned coap_sessions(const struct hub *h) {
    unsigned n = 0;

    for (size_t i = 0; i < h->listener_count; i++)
        n += h->listeners[i].coap ? hub_coap_sessions(h->listeners[i].coap) : 0;
    return n;
}

static void put_traffic(FILE *f, const struct hub *h) {
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static const struct hub_http_totals no_http;
    const struct hub_session_totals *m = hub_sessions_totals(h->sessions);
    const struct hub_http_totals *w = h->http ? hub_http_totals(h->http) : &no_http;

    family(f, "sessions", "gauge", "Connections of peers that were let in, now.");
    fprintf(f,
            "iot_hub_sessions{protocol=\"mqtt\"} %u\n"
            "iot_hub_sessions{protocol=\"http\"} %u\n"
            "iot_hub_sessions{protocol=\"coap\"} %u\n",
            hub_sessions_count(h->sessions), hub_http_count(h->http), coap_sessions(h));
    family(f, "connections", "gauge", "Sessions and handshakes under way, now.");
    fprintf(f, "iot_hub_connections %u\n", hub_connections(h));
    family(f, "messages_total", "counter",
           "Messages that devices have published, over MQTT and at the device API.");
    fprintf(f,
            "iot_hub_messages_total{by=\"mqtt\",result=\"passed\"} %llu\n"
            "iot_hub_messages_total{by=\"mqtt\",result=\"denied\"} %llu\n"
            "iot_hub_messages_total{by=\"api\",result=\"passed\"} %llu\n",
            (unsigned long long)m->publishes, (unsigned long long)m->publishes_denied,
            (unsigned long long)h->api_messages);
    family(f, "http_requests_total", "counter", "HTTP requests by class of the answer.");
    for (unsigned c = 0; c < 6; c++)
        fprintf(f, "iot_hub_http_requests_total{class=\"%s\"} %llu\n", classes[c],
                (unsigned long long)w->by_class[c]);
    family(f, "bytes_total", "counter", "Plain bytes, up is from the device.");
    fprintf(f,
            "iot_hub_bytes_total{protocol=\"mqtt\",direction=\"up\"} %llu\n"
            "iot_hub_bytes_total{protocol=\"mqtt\",direction=\"down\"} %llu\n"
            "iot_hub_bytes_total{protocol=\"http\",direction=\"up\"} %llu\n"
            "iot_hub_bytes_total{protocol=\"http\",direction=\"down\"} %llu\n",
            (unsigned long long)m->bytes_up, (unsigned long long)m->bytes_down,
            (unsigned long long)w->bytes_up, (unsigned long long)w->bytes_down);
    family(f, "kicked_total", "counter", "Sessions that the hub has ended.");
    fprintf(f,
            "iot_hub_kicked_total{protocol=\"mqtt\"} %llu\n"
            "iot_hub_kicked_total{protocol=\"http\"} %llu\n"
            "iot_hub_kicked_total{protocol=\"coap\"} %llu\n",
            (unsigned long long)m->kicked, (unsigned long long)w->kicked,
            (unsigned long long)h->coap_kicked);
}

static void put_process(FILE *f, const struct hub *h) {
    struct rusage u;

    family(f, "broker_up", "gauge", "Whether the broker serves.");
    fprintf(f, "iot_hub_broker_up %d\n", h->broker && hub_broker_is_up(h->broker));
    family(f, "broker_starts_total", "counter", "How often it has come up.");
    fprintf(f, "iot_hub_broker_starts_total %llu\n", (unsigned long long)h->broker_starts);
    getrusage(RUSAGE_SELF, &u);
    fprintf(f,
            "# HELP process_cpu_seconds_total CPU time of this process.\n"
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n",
            (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

char *hub_metrics_text(const struct hub *h) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (!f)
        abort();
    put_handshakes(f, h);
    put_refused(f, h);
    put_times(f, h);
    put_traffic(f, h);
    put_process(f, h);
    if (fclose(f) != 0)
        abort();
    return text;
}

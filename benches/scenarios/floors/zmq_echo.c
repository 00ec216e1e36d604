/* A ROUTER that sends back what a DEALER of another thread sends, over TCP on loopback: what libzmq itself can do.
 *
 *     zmq_echo BYTES PIPELINED ONE_BY_ONE
 *
 * Prints "echoes per second", then the p50 and p99 of single round trips in milliseconds. The prototypes stand here so that
 * the library alone is enough to build it, without its development package. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *zmq_ctx_new(void);
void *zmq_socket(void *context, int type);
int zmq_bind(void *socket, const char *endpoint);
int zmq_connect(void *socket, const char *endpoint);
int zmq_setsockopt(void *socket, int option, const void *value, size_t length);
int zmq_getsockopt(void *socket, int option, void *value, size_t *length);
int zmq_send(void *socket, const void *bytes, size_t length, int flags);
int zmq_recv(void *socket, void *bytes, size_t length, int flags);

enum { DEALER = 5, ROUTER = 6, LAST_ENDPOINT = 32, SNDHWM = 23, RCVHWM = 24, SNDMORE = 2, LARGEST = 65536 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *new_socket(void *context, int type) {
    int unlimited = 0;
    void *socket = zmq_socket(context, type);
    if (socket == NULL || zmq_setsockopt(socket, SNDHWM, &unlimited, sizeof unlimited) != 0 ||
        zmq_setsockopt(socket, RCVHWM, &unlimited, sizeof unlimited) != 0) {
        fprintf(stderr, "zmq_echo: no socket\n");
        exit(1);
    }
    return socket;
}

static void *echo(void *router) {
    char identity[256], bytes[LARGEST];
    for (;;) {
        int identity_length = zmq_recv(router, identity, sizeof identity, 0);
        int length = zmq_recv(router, bytes, sizeof bytes, 0);
        if (identity_length < 0 || length < 0) return NULL;
        zmq_send(router, identity, (size_t)identity_length, SNDMORE);
        zmq_send(router, bytes, (size_t)length, 0);
    }
}

static int compare(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

int main(int count, char **words) {
    if (count != 4) {
        fprintf(stderr, "usage: zmq_echo BYTES PIPELINED ONE_BY_ONE\n");
        return 2;
    }
    size_t length = strtoul(words[1], NULL, 10);
    long pipelined = atol(words[2]), single = atol(words[3]);
    if (length > LARGEST || pipelined < 1 || single < 1) return 2;
    static char bytes[LARGEST], reply[LARGEST];
    memset(bytes, 'x', sizeof bytes);

    /* A context for each side, so that each has its own I/O thread, as two processes have. */
    void *router = new_socket(zmq_ctx_new(), ROUTER), *dealer = new_socket(zmq_ctx_new(), DEALER);
    char endpoint[256];
    size_t endpoint_length = sizeof endpoint;
    if (zmq_bind(router, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(router, LAST_ENDPOINT, endpoint, &endpoint_length) != 0 || zmq_connect(dealer, endpoint) != 0) {
        fprintf(stderr, "zmq_echo: cannot connect over loopback\n");
        return 1;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, echo, router);

    double *times = calloc((size_t)single, sizeof *times);
    if (times == NULL) return 1;
    for (long number = 0; number < single; number++) {
        double begun = now();
        zmq_send(dealer, bytes, length, 0);
        if (zmq_recv(dealer, reply, sizeof reply, 0) != (int)length) return 1;
        times[number] = now() - begun;
    }
    qsort(times, (size_t)single, sizeof *times, compare);

    double begun = now();
    for (long number = 0; number < pipelined; number++) zmq_send(dealer, bytes, length, 0);
    for (long number = 0; number < pipelined; number++)
        if (zmq_recv(dealer, reply, sizeof reply, 0) != (int)length) return 1;
    printf("%.0f %.6f %.6f\n", (double)pipelined / (now() - begun), times[single / 2] * 1e3, times[single * 99 / 100] * 1e3);
    return 0;
}

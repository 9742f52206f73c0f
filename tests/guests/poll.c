/* Calls poll_oneoff with the subscriptions that its arguments describe and prints the events that come back:
   "relative CLOCK NANOSECONDS", "absolute CLOCK NANOSECONDS_FROM_NOW", "read FD", "write FD". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

static __wasi_timestamp_t now(__wasi_clockid_t clock) {
    __wasi_timestamp_t time = 0;
    if (__wasi_clock_time_get(clock, 1, &time) != 0) abort();
    return time;
}

int main(int argc, char **argv) {
    __wasi_subscription_t subscriptions[16] = {0};
    __wasi_event_t events[17];
    __wasi_size_t stored = 99;
    size_t count = 0;
    memset(events, 0xee, sizeof events);
    for (int i = 1; i + 1 < argc && count < 16; count++) {
        __wasi_subscription_t *subscription = &subscriptions[count];
        const char *kind = argv[i++];
        unsigned number = (unsigned)strtoul(argv[i++], 0, 10);
        subscription->userdata = 0x1122334455667700ULL + count;
        if (!strcmp(kind, "relative") || !strcmp(kind, "absolute")) {
            __wasi_subscription_clock_t *clock = &subscription->u.u.clock;
            subscription->u.tag = __WASI_EVENTTYPE_CLOCK;
            clock->id = number;
            clock->timeout = strtoull(argv[i++], 0, 10);
            if (*kind == 'a') {
                clock->timeout += now(number);
                clock->flags = __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
            }
        } else {
            subscription->u.tag = *kind == 'r' ? __WASI_EVENTTYPE_FD_READ : __WASI_EVENTTYPE_FD_WRITE;
            subscription->u.u.fd_read.file_descriptor = number;
        }
    }
    __wasi_timestamp_t begin = now(__WASI_CLOCKID_MONOTONIC);
    __wasi_errno_t result = __wasi_poll_oneoff(subscriptions, events, count, &stored);
    __wasi_timestamp_t end = now(__WASI_CLOCKID_MONOTONIC);
    printf("errno %d stored %d\n", (int)result, (int)stored);
    printf("slept %lld ms\n", (long long)(end - begin) / 1000000);
    for (__wasi_size_t i = 0; result == 0 && i < stored; i++)
        printf("event %d error %d type %d nbytes %lld flags %d\n", (int)(events[i].userdata - 0x1122334455667700ULL),
               (int)events[i].error, (int)events[i].type, (long long)events[i].fd_readwrite.nbytes,
               (int)events[i].fd_readwrite.flags);
    for (size_t i = result == 0 ? stored : 0; i < 17; i++)
        for (size_t j = 0; j < sizeof *events; j++)
            if (((unsigned char *)&events[i])[j] != 0xee) return 9;
    return 0;
}

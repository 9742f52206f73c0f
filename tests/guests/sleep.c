/* Says "ready", sleeps as many milliseconds as its argument says, a hundredth of it at a time if there is a second one. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    long milliseconds = strtol(argv[1], 0, 10);
    long parts = argc > 2 ? 100 : 1;
    puts("ready");
    fflush(stdout);
    for (long i = 0; i < parts; i++) {
        long long part = milliseconds * 1000000LL / parts;
        struct timespec time = {part / 1000000000, part % 1000000000};
        nanosleep(&time, 0);
    }
    puts("done");
    return 0;
}

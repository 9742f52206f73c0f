/* The programs of the conformance checks for executors (ExecutorKit): "echo", "nap", "tick". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void pause_for(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, 0);
}

static int copy(FILE *from, FILE *to) {
    char buffer[4096];
    size_t count;
    if (!from || !to) return 1;
    while ((count = fread(buffer, 1, sizeof buffer, from)) > 0) fwrite(buffer, 1, count, to);
    return fflush(to) ? 1 : 0;
}

static int echo(void) {
    const char *greeting = getenv("GREETING");
    if (copy(stdin, stdout) || copy(fopen("/inputs/letter", "rb"), fopen("/outputs/letter", "wb"))) return 1;
    fputs(greeting ? greeting : "", stderr);
    return 3;
}

static int tick(void) {
    FILE *file = fopen("/outputs/ticks", "ab");
    if (!file) return 1;
    puts("up");
    fflush(stdout);
    for (int i = 0; i < 1000; i++) {
        fputc('.', file);
        fflush(file);
        pause_for(30);
    }
    puts("done");
    return 0;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "echo")) return echo();
    if (!strcmp(verb, "tick")) return tick();
    if (!strcmp(verb, "nap")) return pause_for(1000), 0;
    return 2;
}

/* Takes 1 MiB of memory after the other and fills it, until there is no more or as often as its argument says; tells how often. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    long wanted = argc > 1 ? strtol(argv[1], 0, 10) : -1;
    long count = 0;
    for (; count != wanted; count++) {
        size_t page = __builtin_wasm_memory_grow(0, 16);
        if (page == (size_t)-1) break;
        memset((char *)(page << 16), 1, 1 << 20);
    }
    printf("%ld\n", count);
    return 0;
}

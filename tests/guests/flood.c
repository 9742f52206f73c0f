/* Writes as many KiB as its argument says to stdout, the same to stderr; without an argument for ever. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char block[1024];
    memset(block, 'x', sizeof block);
    block[sizeof block - 1] = '\n';
    for (long left = argc > 1 ? strtol(argv[1], 0, 10) : -1; left != 0; left--) {
        if (write(1, block, sizeof block) != sizeof block) return 2;
        if (write(2, block, sizeof block) != sizeof block) return 3;
    }
    return 0;
}

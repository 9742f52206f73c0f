/* Writes a line to each stream and returns 0. */
#include <stdio.h>

int main(void) {
    puts("Hello, world!");
    fputs("Hello, errors!\n", stderr);
    return 0;
}

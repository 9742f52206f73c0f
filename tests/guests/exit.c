/* Exits with the code of its argument. */
#include <stdlib.h>

int main(int argc, char **argv) {
    exit(argc > 1 ? (int)strtol(argv[1], 0, 10) : 0);
}

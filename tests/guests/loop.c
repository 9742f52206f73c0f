/* Says "ready" and then computes for ever. */
#include <stdio.h>

int main(void) {
    puts("ready");
    fflush(stdout);
    for (volatile unsigned i = 0;; i++) {
    }
}

/* Counts the words of every text file below a folder.
 *
 *     wordcount FOLDER OUTPUT
 *
 * Prints a line for each file, and writes OUTPUT/words.csv: every word of three letters or more, the most frequent first.
 * Built with:  python -m ziglang cc -target wasm32-wasi -Os -s -o wordcount.wasm wordcount.c
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BUCKETS 65536
#define WORD_MAX 64

struct entry { char word[WORD_MAX]; long count; struct entry *next; };
static struct entry *table[BUCKETS];
static long distinct, files, total;

static void count(const char *word) {
    unsigned hash = 5381;
    for (const char *c = word; *c; c++) hash = hash * 33 + (unsigned char)*c;
    struct entry **slot = &table[hash % BUCKETS];
    for (struct entry *e = *slot; e; e = e->next)
        if (strcmp(e->word, word) == 0) { e->count++; return; }
    struct entry *e = calloc(1, sizeof *e);
    if (!e) { fputs("out of memory\n", stderr); exit(1); }
    strcpy(e->word, word);
    e->count = 1;
    e->next = *slot;
    *slot = e;
    distinct++;
}

static void read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) { perror(path); exit(1); }
    char word[WORD_MAX];
    int length = 0, c;
    long words = 0;
    do {
        c = fgetc(file);
        if (c != EOF && isalpha(c)) {
            if (length < WORD_MAX - 1) word[length++] = (char)tolower(c);
        } else if (length) {
            word[length] = 0;
            words++;
            if (length >= 3) count(word);
            length = 0;
        }
    } while (c != EOF);
    fclose(file);
    printf("%7ld words  %s\n", words, path);
    fflush(stdout);
    files++;
    total += words;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void walk(const char *path) {
    struct stat info;
    if (stat(path, &info)) { perror(path); exit(1); }
    if (!S_ISDIR(info.st_mode)) { read_file(path); return; }
    DIR *folder = opendir(path);
    if (!folder) { perror(path); exit(1); }
    char *names[4096];
    int n = 0;
    for (struct dirent *d; (d = readdir(folder)) && n < 4096;)
        if (d->d_name[0] != '.') {
            names[n] = malloc(strlen(path) + strlen(d->d_name) + 2);
            sprintf(names[n++], "%s/%s", path, d->d_name);
        }
    closedir(folder);
    qsort(names, n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) { walk(names[i]); free(names[i]); }
}

static int by_count(const void *a, const void *b) {
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->word, y->word);
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: %s FOLDER OUTPUT\n", argv[0]); return 2; }
    walk(argv[1]);
    struct entry **all = malloc((distinct + 1) * sizeof *all);
    long n = 0;
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry *e = table[i]; e; e = e->next) all[n++] = e;
    qsort(all, n, sizeof *all, by_count);
    char path[4096];
    snprintf(path, sizeof path, "%s/words.csv", argv[2]);
    FILE *out = fopen(path, "w");
    if (!out) { perror(path); return 1; }
    fputs("word,count\n", out);
    for (long i = 0; i < n; i++) fprintf(out, "%s,%ld\n", all[i]->word, all[i]->count);
    fclose(out);
    printf("%ld files, %ld words, %ld of them different\n", files, total, distinct);
    return 0;
}

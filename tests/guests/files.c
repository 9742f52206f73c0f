/* Does, one after the other, what its arguments say, and tells what came of each:
   "cat PATH", "write PATH", "append PATH", "list PATH", "mkdir PATH", "remove PATH", "move PATH PATH", "link PATH PATH", "cd PATH". */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *tell(int result) {
    return result < 0 ? strerror(errno) : "ok";
}

static int copy(const char *path, int flags, const char *text) {
    char buffer[4096];
    int file = open(path, flags, 0644);
    if (file < 0) return -1;
    ssize_t count = text ? write(file, text, strlen(text)) : 0;
    if (!text)
        while ((count = read(file, buffer, sizeof buffer)) > 0) fwrite(buffer, 1, (size_t)count, stdout);
    int error = errno;
    close(file);
    errno = error;
    return count < 0 ? -1 : 0;
}

static int compare(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static int list(const char *path) {
    char *names[64];
    size_t count = 0;
    DIR *directory = opendir(path);
    if (!directory) return -1;
    for (struct dirent *entry; (entry = readdir(directory)) && count < 64;)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) names[count++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, count, sizeof *names, compare);
    for (size_t i = 0; i < count; i++) printf("%s ", names[i]);
    return 0;
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i++) {
        const char *verb = argv[i];
        const char *path = argv[++i];
        int result = -1;
        errno = ENOSYS;
        if (!strcmp(verb, "cat")) result = copy(path, O_RDONLY, 0);
        if (!strcmp(verb, "write")) result = copy(path, O_WRONLY | O_CREAT | O_TRUNC, "written");
        if (!strcmp(verb, "append")) result = copy(path, O_WRONLY | O_APPEND, "appended");
        if (!strcmp(verb, "list")) result = list(path);
        if (!strcmp(verb, "mkdir")) result = mkdir(path, 0755);
        if (!strcmp(verb, "remove")) result = remove(path);
        if (!strcmp(verb, "move") && i + 1 < argc) result = rename(path, argv[++i]);
        if (!strcmp(verb, "link") && i + 1 < argc) result = link(path, argv[++i]);
        if (!strcmp(verb, "cd")) result = chdir(path);
        printf("%s %s: %s\n", verb, path, tell(result));
    }
    return 0;
}

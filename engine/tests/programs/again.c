// Starts itself again and again. Each of these processes makes its calls once.

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int child(void) {
    char bytes[16];
    int fd = open("/dev/zero", O_RDONLY);
    if (read(fd, bytes, sizeof bytes) != sizeof bytes || close(fd) != 0) return 1;
    if (access("/", R_OK) != 0) return 2;
    printf("%s", bytes[3] == 0 ? "." : "!");
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) return child();
    for (int i = 0; i < 6; i++) {
        pid_t pid = i % 2 ? fork() : vfork();
        if (pid == 0) {
            execl(argv[0], argv[0], "child", NULL);
            _exit(127);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) return 1;
    }
    return 0;
}

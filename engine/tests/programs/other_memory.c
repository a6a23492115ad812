// Writing into the memory of another process, and into one's own by its file.
#include "memory.h"

int main(void) {
    static char here[3000], there[3000];
    pid_t me = getpid();
    int told[2];
    CHECK(pipe(told) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        read(told[0], &byte, 1);
        show("written by the parent", there, sizeof there);
        memset(here, 'c', sizeof here);
        struct iovec local = {here, 500}, remote = {there + 1000, 500};
        long n = syscall(SYS_process_vm_writev, me, &local, 1, &remote, 1, 0);
        char line[40];
        write(1, line, snprintf(line, sizeof line, "child %ld\n", n));
        _exit(0);
    }
    memset(here, 'p', sizeof here);
    struct iovec local[2] = {{here, 100}, {here, 200}}, remote[2] = {{there + 7, 250}, {there + 2000, 100}};
    printf("%ld\n", syscall(SYS_process_vm_writev, child, local, 2, remote, 2, 0));
    fflush(stdout);
    write(told[1], "x", 1);
    wait(0);
    show("written by the child", there, sizeof there);
    struct iovec from = {there, 3000}, to = {here, 3000};
    printf("%ld\n", syscall(SYS_process_vm_readv, me, &to, 1, &from, 1, 0));
    show("read back", here, sizeof here);
    int mem = open("/proc/self/mem", O_RDWR);
    CHECK(pwrite(mem, "by its file", 11, (off_t)(there + 77)) == 11);
    char *code = mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pwrite(mem, "read only", 9, (off_t)code) == 9);
    show("own", there, sizeof there);
    show("read only", code, PAGE);
    return 0;
}

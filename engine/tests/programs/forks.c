// Processes: fork, vfork, exec, wait, in the way that the argument says.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say(const char *what, long a, long b)
{
    char line[100];
    int len = snprintf(line, sizeof line, "%s %ld %ld\n", what, a, b);
    write(1, line, len);
}

static unsigned hash(const void *p, size_t n)
{
    unsigned h = 5381;
    for (const unsigned char *c = p; n--; c++) h = h * 33 + *c;
    return h;
}

static int shared = 1;

static int forks(void)
{
    int fds[2];
    pipe(fds);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            shared += i;
            char c = 'a' + shared;
            write(fds[1], &c, 1);
            say("child", getpid() != getppid(), shared);
            _exit(i);
        }
    }
    char got[3];
    for (int i = 0; i < 3; i++) read(fds[0], got + i, 1);
    int sum = 0, status;
    pid_t pid;
    while ((pid = wait(&status)) > 0) {
        sum += WEXITSTATUS(status);
        say("reaped", pid, status);
    }
    say("sum", sum, errno == ECHILD);
    say("shared", shared, hash(got, 0));
    return sum == 3 && shared == 1 ? 0 : 1;
}

static int vforks(void)
{
    volatile int seen = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        seen = 42;
        _exit(7);
    }
    int status;
    waitpid(pid, &status, 0);
    say("vfork", seen, WEXITSTATUS(status));
    pid = vfork();
    if (pid == 0) {
        execl("/bin/echo", "echo", "from", "vfork", NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    say("exec", status, 0);
    char *args[] = {"sh", "-c", "echo spawned; exit 3", NULL};
    int error = posix_spawn(&pid, "/bin/sh", NULL, NULL, args, environ);
    waitpid(pid, &status, 0);
    say("spawn", error, WEXITSTATUS(status));
    error = posix_spawn(&pid, "/nonexistent", NULL, NULL, args, environ);
    say("spawn", error, 0);
    return seen == 42 ? 0 : 1;
}

static void *sleeper(void *arg)
{
    if (arg) pause();
    for (;;) sched_yield();
}

static void *runs_program(void *arg)
{
    execl("/bin/echo", "echo", "a thread became a program", NULL);
    return NULL;
}

// A process with threads executes a program, from its first thread or from another.
static int threads_exec(int other)
{
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, sleeper, NULL);
        pthread_create(&thread, NULL, sleeper, &thread);
        if (other) {
            pthread_create(&thread, NULL, runs_program, NULL);
            for (;;) pause();
        }
        runs_program(NULL);
    }
    int status;
    say("waited", waitpid(pid, &status, 0) == pid, status);
    return status;
}

static int kills(void)
{
    pid_t idle = fork();
    if (idle == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, sleeper, NULL);
        for (;;) pause();
    }
    pid_t busy = fork();
    if (busy == 0)
        for (;;) sched_yield();
    pid_t crash = fork();
    if (crash == 0) raise(SIGTERM);
    pid_t fault = fork();
    if (fault == 0) *(volatile int *)8 = 1;
    int status;
    struct timespec a_while = {0, 1000000};
    nanosleep(&a_while, NULL);
    kill(idle, SIGKILL);
    kill(busy, SIGKILL);
    say("idle", waitpid(idle, &status, 0) == idle, status);
    say("busy", waitpid(busy, &status, 0) == busy, status);
    say("crash", waitpid(crash, &status, 0) == crash, status);
    say("fault", waitpid(fault, &status, 0) == fault, status & ~0x80);
    pid_t self = fork();
    if (self == 0) kill(getpid(), SIGKILL);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    waitid(P_PID, self, &info, WEXITED);
    say("self", info.si_pid == self, info.si_status);
    return 0;
}

// A process is killed by nobody's call, and takes long to give up its memory.
static int mourns(void)
{
    int fds[2];
    pipe(fds);
    pid_t pid = fork();
    if (pid == 0) {
        int ready[2];
        pipe(ready);
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            size_t size = 256 << 20;
            char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
            write(ready[1], "r", 1);
            for (;;) getppid();
        }
        char byte;
        read(ready[0], &byte, 1);
        _exit(0);
    }
    close(fds[1]);
    char byte;
    say("alone", read(fds[0], &byte, 1), 0);
    int status;
    say("waited", waitpid(pid, &status, 0) == pid, status);
    return 0;
}

// Orphans, sessions, a process that outlives its parent.
static int orphans(void)
{
    int fds[2];
    pipe(fds);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            close(fds[0]);
            write(fds[1], "orphan", 6);
            _exit(0);
        }
        _exit(0);
    }
    close(fds[1]);
    int status;
    waitpid(pid, &status, 0);
    char text[10] = "";
    int got = 0, n;
    while ((n = read(fds[0], text + got, 6)) > 0) got += n;
    say("got", got, hash(text, got));
    return 0;
}

static int itself(char *self)
{
    setenv("AGAIN", "yes", 1);
    execl(self, self, "forks", NULL);
    return 1;
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
    if (!strcmp(what, "forks")) return forks();
    if (!strcmp(what, "vforks")) return vforks();
    if (!strcmp(what, "exec")) return threads_exec(0);
    if (!strcmp(what, "exec-other")) return threads_exec(1);
    if (!strcmp(what, "kills")) return kills();
    if (!strcmp(what, "mourns")) return mourns();
    if (!strcmp(what, "orphans")) return orphans();
    if (!strcmp(what, "itself")) return itself(argv[0]);
    return 2;
}

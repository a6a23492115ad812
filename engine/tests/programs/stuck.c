// Threads and processes that wait for each other for ever, in the kernel; or for the world.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int fds[2];

static void *reads(void *arg)
{
    char c;
    read(fds[0], &c, 1);
    return NULL;
}

static void *joins(void *arg)
{
    pthread_join(*(pthread_t *)arg, NULL);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
    pthread_t thread, other;
    char c;
    if (!strcmp(what, "pipe")) pipe(fds);
    if (!strcmp(what, "pair")) socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    if (!strcmp(what, "epoll")) {
        struct epoll_event event = {EPOLLIN, {0}};
        fds[0] = epoll_create1(0);
        epoll_ctl(fds[0], EPOLL_CTL_ADD, eventfd(0, 0), &event);
        pthread_create(&thread, NULL, joins, &other);
        epoll_wait(fds[0], &event, 1, -1);
    }
    if (!strcmp(what, "children")) {
        pipe(fds);
        if (fork() == 0) reads(NULL);
        wait(NULL);
    }
    if (!strcmp(what, "alarm")) {
        pipe(fds);
        alarm(1);
    }
    pthread_create(&thread, NULL, reads, NULL);
    pthread_create(&other, NULL, joins, &thread);
    pthread_join(other, NULL);
    return 0;
}

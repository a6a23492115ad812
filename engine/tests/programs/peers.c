// Waits for what has two sides. `peers alone KIND`: both sides are the program's, and neither acts. `peers with KIND WHERE`: the
// other side is that of `peers hold KIND`, another process, which tells on its standard output where it is to be found and acts
// after a while.
#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char *kind;

static int is(const char *name) { return !strcmp(kind, name); }

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void told(const char *where)
{
    printf("%s\n", where);
    fflush(stdout);
}

// How long the other side takes, whatever the program does meanwhile.
static void take_time(void) { usleep(300000); }

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int bound(int type, int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, type, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    check(!bind(fd, (void *)&address, sizeof address), "bind");
    if (type == SOCK_STREAM) check(!listen(fd, 8), "listen");
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    check(!getsockname(fd, (void *)&address, &len), "getsockname");
    return ntohs(address.sin_port);
}

static int connected(int fd, int port)
{
    struct sockaddr_in address = loopback(port);
    check(!connect(fd, (void *)&address, sizeof address), "connect");
    return fd;
}

// A name that no other directory's programs use.
static const char *own_name(void)
{
    static char name[64];
    struct stat here;
    stat(".", &here);
    sprintf(name, "/peers-%lx-%lx", (long)here.st_dev, (long)here.st_ino);
    return name;
}

static struct sockaddr_un path_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, is("abstract") ? own_name() : path);
    if (is("abstract")) address.sun_path[0] = 0;
    return address;
}

static int unix_listener(const char *path)
{
    struct sockaddr_un address = path_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    check(!bind(fd, (void *)&address, sizeof address) && !listen(fd, 8), "bind");
    return fd;
}

static int unix_client(const char *path)
{
    struct sockaddr_un address = path_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    check(!connect(fd, (void *)&address, sizeof address), "connect");
    return fd;
}

static void send_fds(int socket, int one, int other)
{
    char c = 0, control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec data = {&c, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(header), (int[]){one, other}, 2 * sizeof(int));
    check(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

static void receive_fds(int socket, int fds[2])
{
    char c, control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec data = {&c, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    check(recvmsg(socket, &message, 0) == 1, "recvmsg");
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof(int));
}

static void *reads(void *fd)
{
    char buffer[64];
    read((long)fd, buffer, sizeof buffer);
    return NULL;
}

static void *writes(void *fd)
{
    static char buffer[1 << 20];
    while (write((long)fd, buffer, sizeof buffer) > 0) {}
    return NULL;
}

static void *joins(void *thread)
{
    pthread_join(*(pthread_t *)thread, NULL);
    return NULL;
}

// Two threads do this with two descriptors, and a third waits for them.
static void both(void *(*act)(void *), int one, int other)
{
    pthread_t threads[3];
    pthread_create(&threads[0], NULL, act, (void *)(long)one);
    pthread_create(&threads[1], NULL, act, (void *)(long)other);
    pthread_create(&threads[2], NULL, joins, &threads[0]);
    for (int i = 2; i >= 1; i--) pthread_join(threads[i], NULL);
}

static void pair(int fds[2])
{
    int listener = bound(SOCK_STREAM, 0);
    fds[0] = connected(socket(AF_INET, SOCK_STREAM, 0), port_of(listener));
    fds[1] = accept(listener, NULL, NULL);
    close(listener);
}

static int lock(int fd, int unlocks)
{
    struct flock range = {.l_type = unlocks ? F_UNLCK : F_WRLCK};
    if (is("posix")) return fcntl(fd, F_SETLKW, &range);
    if (is("ofd")) return fcntl(fd, F_OFD_SETLKW, &range);
    return flock(fd, unlocks ? LOCK_UN : LOCK_EX);
}

static void *locks(void *fd)
{
    check(!lock((long)fd, 0), "lock");
    return NULL;
}

static int with_key(key_t key)
{
    return is("sem") ? semget(key, 1, IPC_CREAT | 0600) : msgget(key, IPC_CREAT | 0600);
}

static void take(int id)
{
    struct { long type; char c; } message;
    struct sembuf down = {0, -1, 0};
    if (is("sem")) check(!semop(id, &down, 1), "semop");
    else check(msgrcv(id, &message, 1, 0, 0) == 1, "msgrcv");
}

static mqd_t queue(int make)
{
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
    mqd_t fd = mq_open(own_name(), make | O_RDWR, 0600, &attributes);
    check(fd >= 0, "mq_open");
    return fd;
}

static void alone(void)
{
    int fds[2], other[2], status;
    char c[8];
    struct termios settings;
    if (is("tcp") || is("tcp-full")) {
        pair(fds);
        both(is("tcp") ? reads : writes, fds[0], fds[1]);
    } else if (is("waiting")) {
        int listener = bound(SOCK_STREAM, 0);
        int client = connected(socket(AF_INET, SOCK_STREAM, 0), port_of(listener));
        both(reads, client, client);
    } else if (is("accept")) {
        int listener = bound(SOCK_STREAM, 0);
        struct pollfd readable = {listener, POLLIN};
        pthread_t thread;
        pthread_create(&thread, NULL, reads, (void *)(long)connected(socket(AF_INET, SOCK_STREAM, 0), port_of(listener)));
        accept(listener, NULL, NULL);
        accept(listener, NULL, NULL);
    } else if (is("udp")) {
        fds[0] = bound(SOCK_DGRAM, 0);
        fds[1] = connected(bound(SOCK_DGRAM, 0), port_of(fds[0]));
        connected(fds[0], port_of(fds[1]));
        both(reads, fds[0], fds[1]);
    } else if (is("datagrams")) {
        both(reads, bound(SOCK_DGRAM, 0), bound(SOCK_DGRAM, 0));
    } else if (is("unix") || is("abstract") || is("unix-full")) {
        int listener = unix_listener("socket");
        fds[0] = unix_client("socket");
        fds[1] = accept(listener, NULL, NULL);
        both(is("unix-full") ? writes : reads, fds[0], fds[1]);
    } else if (is("flock") || is("ofd")) {
        fds[0] = open("file", O_CREAT | O_RDWR, 0600);
        fds[1] = open("file", O_RDWR);
        check(!lock(fds[0], 0), "lock");
        both(locks, fds[1], fds[1]);
    } else if (is("posix")) {
        pipe(fds);
        pipe(other);
        int file = open("file", O_CREAT | O_RDWR, 0600);
        if (fork() == 0) {
            lock(file, 0);
            write(fds[1], "", 1);
            reads((void *)(long)other[0]);
            exit(0);
        }
        read(fds[0], c, 1);
        lock(file, 0);
    } else if (is("fifo") || is("unlinked")) {
        mkfifo("fifo", 0600);
        fds[0] = open("fifo", O_RDWR);
        if (is("unlinked")) unlink("fifo");
        both(reads, fds[0], fds[0]);
    } else if (is("fifo-open")) {
        mkfifo("fifo", 0600);
        pthread_t thread;
        pipe(fds);
        pthread_create(&thread, NULL, reads, (void *)(long)fds[0]);
        open("fifo", O_RDONLY);
    } else if (is("msg") || is("sem")) {
        pthread_t thread;
        pipe(fds);
        pthread_create(&thread, NULL, reads, (void *)(long)fds[0]);
        int id = with_key(IPC_PRIVATE);
        char text[16];
        sprintf(text, "%d", id);
        told(text);
        if (fork() == 0) {
            take(id);
            exit(0);
        }
        wait(&status);
    } else if (is("mq")) {
        fds[0] = queue(O_CREAT | O_EXCL);
        told(own_name());
        pthread_t thread;
        pthread_create(&thread, NULL, reads, (void *)(long)(pipe(other), other[0]));
        mq_receive(fds[0], c, sizeof c, NULL);
    } else if (is("pty")) {
        check(!openpty(&fds[0], &fds[1], NULL, NULL, NULL), "openpty");
        both(reads, fds[0], fds[1]);
    } else if (is("inotify")) {
        mkdir("watched", 0700);
        fds[0] = inotify_init();
        check(inotify_add_watch(fds[0], "watched", IN_CREATE) >= 0, "inotify");
        both(reads, fds[0], fds[0]);
    } else if (is("pidfd")) {
        pipe(fds);
        int child = fork();
        if (child == 0) {
            reads((void *)(long)fds[0]);
            exit(0);
        }
        struct pollfd ended = {syscall(SYS_pidfd_open, child, 0), POLLIN};
        poll(&ended, 1, -1);
    } else if (is("splice")) {
        pthread_t thread;
        pipe(fds);
        pipe(other);
        pthread_create(&thread, NULL, reads, (void *)(long)other[0]);
        splice(fds[0], NULL, other[1], NULL, 16, 0);
    } else {
        check(0, kind);
    }
}

static void hold(void)
{
    char text[64];
    int fds[2];
    if (is("tcp") || is("kept")) {
        int listener = is("tcp") ? bound(SOCK_STREAM, 0) : unix_listener("socket");
        sprintf(text, "%d", is("tcp") ? port_of(listener) : 0);
        told(text);
        int client = accept(listener, NULL, NULL);
        if (is("kept")) {
            pair(fds);
            send_fds(client, fds[0], fds[1]);
            client = fds[1];
        }
        take_time();
        write(client, "x", 1);
        if (is("kept")) write(fds[0], "x", 1);
    } else if (is("accept")) {
        int listener = bound(SOCK_STREAM, 0), port = port_of(listener);
        struct sockaddr_in address = loopback(port);
        close(listener);
        sprintf(text, "%d", port);
        told(text);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        do {
            take_time();
        } while (connect(fd, (void *)&address, sizeof address));
    } else if (is("udp")) {
        fds[0] = bound(SOCK_DGRAM, 0);
        sprintf(text, "%d", port_of(fds[0]));
        told(text);
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        recvfrom(fds[0], text, 1, 0, (void *)&from, &len);
        take_time();
        sendto(fds[0], "x", 1, 0, (void *)&from, len);
    } else if (is("unix") || is("abstract")) {
        int listener = unix_listener("socket");
        told("socket");
        int client = accept(listener, NULL, NULL);
        take_time();
        write(client, "x", 1);
    } else if (is("flock") || is("posix") || is("ofd")) {
        int file = open("file", O_CREAT | O_RDWR, 0600);
        check(!lock(file, 0), "lock");
        told("file");
        take_time();
        lock(file, 1);
    } else if (is("shared-lock")) {
        int listener = unix_listener("socket"), file = open("file", O_CREAT | O_RDWR, 0600);
        told("file");
        int client = accept(listener, NULL, NULL);
        send_fds(client, file, file);
        take_time();
        flock(file, LOCK_UN);
    } else if (is("fifo")) {
        mkfifo("fifo", 0600);
        int fifo = open("fifo", O_RDWR);
        told("fifo");
        take_time();
        write(fifo, "x", 1);
        take_time();
    } else if (is("msg") || is("sem")) {
        struct { long type; char c; } message = {1, 'x'};
        struct sembuf up = {0, 1, 0};
        int id = with_key(ftok(".", 'r'));
        told("key");
        take_time();
        if (is("sem")) semop(id, &up, 1);
        else msgsnd(id, &message, 1, 0);
    } else if (is("mq")) {
        fds[0] = queue(O_CREAT);
        told("queue");
        take_time();
        mq_send(fds[0], "x", 1, 0);
    } else if (is("pty")) {
        check(!openpty(&fds[0], &fds[1], text, NULL, NULL), "openpty");
        told(text);
        take_time();
        write(fds[0], "x\n", 2);
        take_time();
    } else if (is("inotify")) {
        mkdir("watched", 0700);
        told("watched");
        take_time();
        close(open("watched/x", O_CREAT, 0600));
    }
    // Until the other side is done.
    read(0, text, 1);
    if (is("mq")) mq_unlink(own_name());
    if (is("sem")) semctl(with_key(ftok(".", 'r')), 0, IPC_RMID);
    if (is("msg")) msgctl(with_key(ftok(".", 'r')), IPC_RMID, NULL);
}

static void with(const char *where)
{
    int fds[2];
    char c[8];
    pthread_t thread;
    pipe(fds);
    // Not alone: the kernel does not keep the core.
    pthread_create(&thread, NULL, reads, (void *)(long)fds[0]);
    if (is("tcp")) {
        reads((void *)(long)connected(socket(AF_INET, SOCK_STREAM, 0), atoi(where)));
    } else if (is("kept")) {
        int got[2];
        receive_fds(unix_client("socket"), got);
        both(reads, got[0], got[1]);
    } else if (is("accept")) {
        check(accept(bound(SOCK_STREAM, atoi(where)), NULL, NULL) >= 0, "accept");
    } else if (is("udp")) {
        int fd = connected(bound(SOCK_DGRAM, 0), atoi(where));
        send(fd, "x", 1, 0);
        reads((void *)(long)fd);
    } else if (is("unix") || is("abstract")) {
        reads((void *)(long)unix_client(where));
    } else if (is("flock") || is("posix") || is("ofd")) {
        check(!lock(open(where, O_RDWR), 0), "lock");
    } else if (is("shared-lock")) {
        int got[2];
        receive_fds(unix_client("socket"), got);
        flock(got[0], LOCK_EX);
        flock(open(where, O_RDWR), LOCK_EX);
    } else if (is("fifo")) {
        reads((void *)(long)open(where, O_RDWR));
    } else if (is("msg") || is("sem")) {
        take(with_key(ftok(".", 'r')));
    } else if (is("mq")) {
        check(mq_receive(queue(0), c, sizeof c, NULL) == 1, "mq_receive");
    } else if (is("pty")) {
        reads((void *)(long)open(where, O_RDWR | O_NOCTTY));
    } else if (is("inotify")) {
        int fd = inotify_init();
        check(inotify_add_watch(fd, where, IN_CREATE) >= 0, "inotify");
        char event[64];
        check(read(fd, event, sizeof event) > 0, "read");
    }
}

int main(int argc, char **argv)
{
    kind = argv[2];
    if (!strcmp(argv[1], "alone")) alone();
    if (!strcmp(argv[1], "hold")) hold();
    if (!strcmp(argv[1], "with")) with(argv[3]);
    return 0;
}

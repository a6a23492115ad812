// Corners of calls: null addresses, outputs of calls that fail, limits that are told back, operations that there are not.
#include "show.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096

// A page that can be written, and one behind it that cannot.
static char *edge(int behind)
{
	char *at = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(at, 0x5a, 2 * PAGE);
	if (behind == 0)
		munmap(at + PAGE, PAGE);
	else
		mprotect(at + PAGE, PAGE, behind == 1 ? PROT_READ : PROT_NONE);
	return at;
}

// The names of sockets, with no room for them.
static void names(void)
{
	int pair[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	for (int i = 0; i < 3; i++) {
		socklen_t len = 0;
		SHOW(syscall(SYS_getsockname, pair[0], 0, &len), len);
		len = 0;
		SHOW(syscall(SYS_getpeername, pair[0], 0, &len), len);
		len = 0;
		SHOW(syscall(SYS_getsockopt, pair[0], SOL_SOCKET, SO_TYPE, 0, &len), len);
	}
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	MUST(bind(listener, (void *)&address, size) == 0 && listen(listener, 2) == 0);
	MUST(getsockname(listener, (void *)&address, &size) == 0);
	MUST(connect(client, (void *)&address, size) == 0);
	// With no room for an address, what would say how much there is, is not looked at.
	PLAIN(syscall(SYS_accept, listener, 0, 8) >= 0);
}

// Reads that fail have filled what they could.
static void faults(void)
{
	for (int behind = 0; behind < 3; behind++) {
		int pipes[2], pair[2], out[2];
		MUST(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0 && pipe(out) == 0);
		for (int i = 0; i < 3; i++) {
			char *at = edge(behind), text[200];
			memset(text, 'a' + i, sizeof text);
			MUST(write(pipes[1], text, 200) == 200);
			PLAIN(read(pipes[0], at + PAGE - 100, 200));
			printf("%lx\n", hash(at, PAGE));
			PLAIN(read(pipes[0], text, 200));
			MUST(send(pair[1], text, 200, 0) == 200);
			PLAIN(read(pair[0], at + PAGE - 50, 200));
			printf("%lx\n", hash(at, PAGE));
			struct iovec parts[2] = {{at, 10}, {at + PAGE - 7, 193}};
			MUST(send(pair[1], text, 200, 0) == 200);
			PLAIN(readv(pair[0], parts, 2));
			printf("%lx\n", hash(at, PAGE));
			PLAIN(syscall(SYS_newfstatat, AT_FDCWD, "/", at + PAGE - 40, 0));
			PLAIN(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at + PAGE - 8));
			PLAIN(syscall(SYS_uname, at + PAGE - 70));
			printf("%lx\n", hash(at, PAGE - 8));
			PLAIN(syscall(SYS_gettimeofday, behind ? at + PAGE + 8 : at - 1, 0));
			// What has not been written is as it was.
			if (behind == 1)
				printf("%lx\n", hash(at + PAGE, PAGE));
			munmap(at, 2 * PAGE);
		}
		close(pipes[0]), close(pipes[1]), close(pair[0]), close(pair[1]), close(out[0]), close(out[1]);
	}
}

static int ends[2];

static void *writes_late(void *arg)
{
	usleep(50000);
	write(ends[1], "x", 1);
	return 0;
}

// Whether some of so many seconds are said to be over, but not many, where a wait has taken a moment.
static void told(const char *what, long seconds, long parts, long of)
{
	double left = seconds + parts / (double)of;
	printf("%s: %s\n", what, left < 99.97 && left > 40 ? "less is left" : left == 100 ? "all is left" : "?");
}

static void limits(void)
{
	char byte;
	for (int call = 0; call < 3; call++) {
		pthread_t thread;
		MUST(pipe(ends) == 0);
		MUST(pthread_create(&thread, 0, writes_late, 0) == 0);
		fd_set set;
		FD_ZERO(&set);
		FD_SET(ends[0], &set);
		struct timeval value = {100, 0};
		struct timespec spec = {100, 0};
		struct pollfd one = {ends[0], POLLIN};
		if (call == 0) {
			PLAIN(syscall(SYS_select, ends[0] + 1, &set, 0, 0, &value));
			told("select", value.tv_sec, value.tv_usec, 1000000);
		} else if (call == 1) {
			PLAIN(syscall(SYS_pselect6, ends[0] + 1, &set, 0, 0, &spec, 0));
			told("pselect6", spec.tv_sec, spec.tv_nsec, 1000000000);
		} else {
			PLAIN(syscall(SYS_ppoll, &one, 1, &spec, 0, 8));
			told("ppoll", spec.tv_sec, spec.tv_nsec, 1000000000);
		}
		pthread_join(thread, 0);
		read(ends[0], &byte, 1);
		// One that is over.
		spec = (struct timespec){0, 3000000};
		one.revents = 0;
		PLAIN(syscall(SYS_ppoll, &one, 1, &spec, 0, 8));
		printf("%ld %ld\n", spec.tv_sec, spec.tv_nsec);
		// A limit that cannot be written.
		struct timespec *fixed = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*fixed = (struct timespec){0, 3000000};
		mprotect(fixed, PAGE, PROT_READ);
		PLAIN(syscall(SYS_ppoll, &one, 1, fixed, 0, 8));
		printf("%ld %ld\n", fixed->tv_sec, fixed->tv_nsec);
		close(ends[0]), close(ends[1]);
	}
}

// Memory that is written through a file.
static void memory_file(void)
{
	static long words[8];
	int fd = open("/proc/self/mem", O_RDWR);
	MUST(fd >= 0);
	for (long i = 0; i < 8; i++) {
		MUST(lseek(fd, (long)&words[i], SEEK_SET) == (long)&words[i]);
		long value = i * i + 1;
		MUST(write(fd, &value, sizeof value) == sizeof value);
	}
	for (long i = 0; i < 8; i++)
		printf("%ld ", words[i]);
	printf("\n");
	close(fd);
}

static void errors(void)
{
	int word = 1, set = 77;
	struct timespec time = {0, 0};
	struct timeval wrong = {0, 1000000};
	struct timezone zone;
	for (int i = 0; i < 3; i++) {
		FRESH(zone);
		SHOW(syscall(SYS_gettimeofday, 0, &zone), zone);
		PLAIN(syscall(SYS_futex, &word, 112, 0, 0, 0, 0));
		PLAIN(syscall(SYS_futex, &word, FUTEX_FD, 0, 0, 0, 0));
		PLAIN(syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 2, 0, 0, 0));
		PLAIN(syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 2, 0, 0, 0));
		PLAIN(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 2, 0, 0, -1));
		PLAIN(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &time));
		PLAIN(syscall(SYS_clock_settime, 999, &time));
		PLAIN(syscall(SYS_clock_settime, CLOCK_REALTIME, 8));
		PLAIN(syscall(SYS_settimeofday, &wrong, 0));
		PLAIN(syscall(SYS_settimeofday, 8, 0));
		SHOW(prctl(PR_GET_PDEATHSIG, &set), set);
		PLAIN(close(1000));
		PLAIN(close(-1));
		PLAIN(read(1000, &word, 1));
		PLAIN(write(-1, &word, 1));
		PLAIN(lseek(1000, 0, SEEK_SET));
		PLAIN(fcntl(1000, F_GETFD));
		PLAIN(fcntl(0, F_GETFL));
	}
	// Memory that only the kernel could write is not written.
	long *fixed = mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	PLAIN(syscall(SYS_getrandom, fixed, 8, 0));
		PLAIN(syscall(SYS_gettimeofday, fixed, 0));
	printf("%ld\n", *fixed);
}

// What is told without a stop is what is told with one.
static void told_alike(void)
{
	for (int i = 0; i < 4; i++) {
		time_t now = 0;
		struct timeval value;
		struct timespec spec;
		clock_gettime(CLOCK_REALTIME, &spec);
		long then = syscall(SYS_time, &now);
		MUST(syscall(SYS_gettimeofday, &value, 0) == 0);
		MUST(then == now && now - spec.tv_sec < 60 && now >= spec.tv_sec && value.tv_sec >= now && value.tv_usec < 1000000);
		MUST(syscall(SYS_getppid) == getppid() && getpgrp() == getpgid(0));
		int copy = dup(1), other = fcntl(1, F_DUPFD_CLOEXEC, 100);
		MUST(copy > 2 && other >= 100 && fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(copy, F_GETFD) == 0);
		dprintf(copy, "copy %d\n", i), dprintf(other, "other %d\n", i);
		close(copy), close(other);
	}
}

int main(void)
{
	names();
	faults();
	limits();
	memory_file();
	errors();
	told_alike();
	return 0;
}

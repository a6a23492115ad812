#include "show.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

int p[2], q[2];

void *writer(void *arg)
{
	usleep(300);
	MUST(write(p[1], "x", 1) == 1);
	usleep(300);
	MUST(write(q[1], "y", 1) == 1);
	return 0;
}

// What is ready for several is taken by one: the others wait on for what they asked for.
void *taker(void *arg)
{
	fd_set r;
	char c;
	for (;;) {
		FD_ZERO(&r);
		FD_SET(p[0], &r);
		MUST(select(p[0] + 1, &r, 0, 0, 0) == 1 && FD_ISSET(p[0], &r));
		sched_yield();
		int n = read(p[0], &c, 1);
		if (n == 1)
			return 0;
		MUST(n == -1 && errno == EAGAIN);
	}
}

void takers(void)
{
	pthread_t t[3];
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 3; i++)
		pthread_create(t + i, 0, taker, 0);
	for (int i = 0; i < 3; i++) {
		usleep(100);
		MUST(write(p[1], "x", 1) == 1);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], 0);
}

// A descriptor that the kernel's table has no room for.
int beyond(void)
{
	int size = FD_SETSIZE - 1;
	char line[128];
	FILE *status = fopen("/proc/self/status", "r");
	MUST(status);
	while (fgets(line, sizeof line, status) && sscanf(line, "FDSize: %d", &size) != 1)
		;
	fclose(status);
	return size < FD_SETSIZE ? size : FD_SETSIZE - 1;
}

int main(void)
{
	char c;
	fd_set r[2], w[2];
	struct timeval tv = { 0, 0 };
	struct timespec ts = { 0, 1000000 };
	pthread_t t;
	MUST(!pipe(p) && !pipe(q));
	FRESH(r);
	FRESH(w);
	FD_ZERO(r);
	FD_ZERO(w);
	// Alone: at once.
	FD_SET(p[0], r);
	FD_SET(p[1], w);
	MUST(select(q[1] + 1, r, w, 0, &tv) == 1);
	MUST(!FD_ISSET(p[0], r) && FD_ISSET(p[1], w));
	SHOW(0, r);
	SHOW(0, w);
	tv.tv_usec = 1000;
	FD_SET(p[0], r);
	MUST(select(p[0] + 1, r, 0, 0, &tv) == 0 && tv.tv_usec == 0);
	SHOW(0, tv);
	// The kernel looks at no more descriptors than its table of the process's has room for, and that never shrinks.
	MUST(dup2(p[0], 200) == 200 && !close(200));
	FD_SET(200, r);
	MUST(select(FD_SETSIZE, r, 0, 0, &tv) == -1 && errno == EBADF);
	FD_CLR(200, r);
	tv.tv_sec = -1;
	MUST(select(0, 0, 0, 0, &tv) == -1 && errno == EINVAL);

	// With others: until they write, and until the time is over.
	pthread_create(&t, 0, writer, 0);
	FD_SET(p[0], r);
	FD_SET(q[0], r);
	FD_SET(beyond(), r);
	MUST(select(FD_SETSIZE, r, 0, 0, 0) >= 1);
	FD_CLR(beyond(), r);
	SHOW(0, r);
	MUST(FD_ISSET(p[0], r) && read(p[0], &c, 1) == 1);
	FD_SET(q[0], r);
	FD_CLR(p[0], r);
	tv = (struct timeval){ 5, 2000000 };
	SHOW(select(q[0] + 1, r, w + 1, 0, &tv) >= 1, w);
	SHOW(0, tv);
	pthread_join(t, 0);
	FD_ZERO(r);
	FD_ZERO(w);
	FD_SET(q[0], r);
	MUST(pselect(q[0] + 1, r, 0, 0, &ts, 0) == 1 && read(q[0], &c, 1) == 1 && c == 'y');

	int e = epoll_create1(0);
	struct epoll_event ev = { EPOLLIN, { .u64 = 77 } }, got[3];
	MUST(!epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
	FRESH(got);
	SHOW(UNINTERRUPTED(syscall(SYS_epoll_pwait2, e, got, 3, &ts, 0, 8)), got);
	pthread_create(&t, 0, writer, 0);
	SHOW(UNINTERRUPTED(syscall(SYS_epoll_pwait2, e, got, 3, 0, 0, 8)), got);
	MUST(got[0].data.u64 == 77);
	tv = (struct timeval){ 0, 500 };
	SHOW(select(0, 0, 0, 0, &tv), tv);
	MUST(tv.tv_usec == 0);
	pthread_join(t, 0);
	MUST(read(p[0], &c, 1) == 1);
	takers();
	return 0;
}

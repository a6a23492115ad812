#include "show.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

int s[2];
struct received {
	struct mmsghdr header[4];
	struct iovec iov[4][2];
	char text[4][2][8], name[4][32], control[4][64];
} in;

void prepare(void)
{
	memset(&in, 0x5a, sizeof in);
	memset(in.header, 0, sizeof in.header);
	for (int i = 0; i < 4; i++) {
		for (int j = 0; j < 2; j++)
			in.iov[i][j] = (struct iovec){ in.text[i][j], 8 };
		in.header[i].msg_hdr = (struct msghdr){
			.msg_name = in.name[i], .msg_namelen = sizeof in.name[i], .msg_iov = in.iov[i],
			.msg_iovlen = 2, .msg_control = in.control[i], .msg_controllen = sizeof in.control[i],
		};
	}
}

// Addresses differ from run to run; what the kernel wrote does not.
void show(const char *what, int n)
{
	printf("%s %d %lx %lx %lx\n", what, n, hash(in.text, sizeof in.text), hash(in.name, sizeof in.name),
	       hash(in.control, sizeof in.control));
	for (int i = 0; i < 4; i++)
		printf(" %u %u %lu %x\n", in.header[i].msg_len, in.header[i].msg_hdr.msg_namelen,
		       in.header[i].msg_hdr.msg_controllen, in.header[i].msg_hdr.msg_flags);
}

void *sender(void *arg)
{
	usleep(300);
	MUST(send(s[0], "one", 3, 0) == 3);
	usleep(300);
	MUST(send(s[0], "two", 3, 0) == 3);
	return 0;
}

int main(void)
{
	struct sockaddr_un a = { AF_UNIX, "\0rrtest" };
	struct iovec out[3] = { { "a", 1 }, { "bcdefghijk", 10 }, { "lm", 2 } };
	struct mmsghdr send[3] = { 0 };
	int one = 1, fd = dup(0);
	pthread_t t;
	snprintf(a.sun_path + 1, 90, "rrtest-%d", getpid());
	MUST(!socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	MUST(!bind(s[0], (void *)&a, sizeof a));
	MUST(!setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, 4));
	MUST(!setsockopt(s[1], SOL_SOCKET, SO_TIMESTAMP, &one, 4));
	union {
		char bytes[CMSG_SPACE(4)];
		struct cmsghdr align;
	} control;
	memset(&control, 0, sizeof control);
	control.align = (struct cmsghdr){ CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.align), &fd, 4);
	for (int i = 0; i < 3; i++)
		send[i].msg_hdr = (struct msghdr){ .msg_iov = out + i, .msg_iovlen = 1 };
	send[1].msg_hdr.msg_control = &control;
	send[1].msg_hdr.msg_controllen = sizeof control;
	MUST(sendmmsg(s[0], send, 3, 0) == 3);
	printf("sent %u %u %u\n", send[0].msg_len, send[1].msg_len, send[2].msg_len);
	prepare();
	MUST(recvmmsg(s[1], in.header, 4, MSG_WAITFORONE, 0) == 3);
	show("recvmmsg", 3);
	MUST(in.header[1].msg_len == 10);
	prepare();
	struct timespec ts = { 0, 1000 };
	MUST(recvmmsg(s[1], in.header, 4, MSG_DONTWAIT, &ts) == -1 && errno == EAGAIN);
	MUST(sendmsg(s[0], &send[1].msg_hdr, 0) == 10);
	MUST(recvmsg(s[1], &in.header[2].msg_hdr, MSG_TRUNC) == 10);
	show("recvmsg", 1);
	MUST(sendmmsg(s[0], send, 2, 0) == 2);
	prepare();
	MUST(recvmmsg(s[1], in.header, 2, 0, &ts) >= 1);
	show("timed", 0);
	printf("%ld %ld\n", ts.tv_sec, ts.tv_nsec);

	pthread_create(&t, 0, sender, 0);
	int got = 0;
	while (got < 2) {
		prepare();
		int n = recvmmsg(s[1], in.header, 2 - got, 0, 0);
		MUST(n > 0);
		show("thread", n);
		got += n;
	}
	pthread_join(t, 0);
	return 0;
}

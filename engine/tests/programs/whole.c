// Calls that wait until they have all that they ask for, while another thread sends it in parts.
#include "show.h"
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

int stream[2], messages[2];


static void *sender(void *unused)
{
	for (int i = 0; i < 4; i++) {
		usleep(200);
		MUST(send(stream[0], "abcdefgh" + 2 * i, 2, 0) == 2);
	}
	for (int i = 0; i < 3; i++) {
		usleep(200);
		MUST(send(messages[0], "one\0two\0six" + 4 * i, 3, 0) == 3);
	}
	MUST(send(messages[0], "datagram", 8, 0) == 8);
	MUST(send(stream[0], "part", 4, 0) == 4);
	usleep(1000);
	MUST(!shutdown(stream[0], SHUT_WR));
	return 0;
}

int main(void)
{
	char text[16] = { 0 }, parts[3][8] = { 0 };
	struct iovec iov[3];
	struct mmsghdr header[3] = { 0 };
	pthread_t thread;
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, stream) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, messages));
	MUST(!pthread_create(&thread, 0, sender, 0));

	MUST(recv(stream[1], text, 8, MSG_WAITALL) == 8 && !memcmp(text, "abcdefgh", 8));
	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){ parts[i], 8 };
		header[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	MUST(recvmmsg(messages[1], header, 3, 0, 0) == 3);
	for (int i = 0; i < 3; i++)
		MUST(header[i].msg_len == 3 && !strcmp(parts[i], "one\0two\0six" + 4 * i));
	// Of a message there is no rest, and the end of a stream is its rest.
	MUST(recv(messages[1], text, 16, MSG_WAITALL) == 8 && !memcmp(text, "datagram", 8));
	MUST(recv(stream[1], text, 16, MSG_WAITALL) == 4 && !memcmp(text, "part", 4));
	MUST(recv(stream[1], text, 16, MSG_WAITALL) == 0);
	MUST(!pthread_join(thread, 0));
	return 0;
}

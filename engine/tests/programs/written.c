// Writes five random bytes, in the way that the argument says. The call site is warm where that is said: it makes its calls without a stop
// by then.
#include "show.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

static char random_bytes[5], plain[] = "plain";

static void put(int fd, int warm)
{
	for (int i = 0; i <= 4 * warm; i++)
		if (write(fd, i == 4 * warm ? random_bytes : plain, 5) != 5)
			exit(1);
}

int main(int argc, char **argv)
{
	const char *way = argv[1];
	int pair[2], file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct iovec pieces[] = {{plain, 5}, {random_bytes, 5}};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	getrandom(random_bytes, 5, 0);
	if (!strcmp(way, "output"))
		put(1, 0);
	else if (!strcmp(way, "warm output"))
		put(1, 1);
	else if (!strcmp(way, "error pieces"))
		writev(2, pieces, 2);
	else if (!strcmp(way, "file"))
		put(file, 0);
	else if (!strcmp(way, "warm file"))
		put(file, 1);
	else if (!strcmp(way, "place"))
		pwrite(file, random_bytes, 5, 3);
	else if (!strcmp(way, "pieces"))
		writev(file, pieces, 2);
	else if (!strcmp(way, "sent"))
		send(pair[0], random_bytes, 5, 0);
	else if (!strcmp(way, "message"))
		sendmsg(pair[0], &message, 0);
	return 0;
}

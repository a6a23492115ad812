// What a call returned, and a hash of whole buffers: an output that the recording lacks shows in replay.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>

static unsigned long hash(const void *p, size_t n)
{
	const unsigned char *b = p;
	unsigned long h = 0xcbf29ce484222325;
	while (n--)
		h = (h ^ *b++) * 0x100000001b3;
	return h;
}

// A wait with epoll may be interrupted though no handler runs (signal(7)).
#define UNINTERRUPTED(call)                                                                       \
	({                                                                                        \
		long done_;                                                                       \
		do                                                                                \
			done_ = (long)(call);                                                     \
		while (done_ == -1 && errno == EINTR);                                            \
		done_;                                                                            \
	})

// A buffer before a call.
#define FRESH(buffer) memset(&(buffer), 0x5a, sizeof(buffer))
// After it.
#define SHOW(call, buffer)                                                                        \
	do {                                                                                      \
		errno = 0;                                                                        \
		long r_ = (long)(call);                                                           \
		printf("%s: %ld %d %lx\n", #call, r_, r_ < 0 ? errno : 0,                         \
		       hash(&(buffer), sizeof(buffer)));                                          \
	} while (0)
#define PLAIN(call)                                                                               \
	do {                                                                                      \
		errno = 0;                                                                        \
		long r_ = (long)(call);                                                           \
		printf("%s: %ld %d\n", #call, r_, r_ < 0 ? errno : 0);                            \
	} while (0)
// What must be so.
#define MUST(condition)                                                                           \
	do {                                                                                      \
		if (!(condition)) {                                                               \
			printf("line %d: not %s (errno %d)\n", __LINE__, #condition, errno);      \
			fflush(stdout), _exit(1);                                                              \
		}                                                                                 \
	} while (0)

#include "show.h"
#include <pthread.h>
#include <stdlib.h>
#include <fcntl.h>

// Pipe to pipe, with more than there is room for.
int p[2], q[2];
enum { ALL = 300000 };

void *source(void *arg)
{
	char *b = calloc(1, ALL);
	MUST(write(p[1], b, ALL) == ALL);
	close(p[1]);
	return 0;
}

void *between(void *arg)
{
	long n;
	while ((n = splice(p[0], 0, q[1], 0, ALL, 0)) > 0)
		;
	MUST(n == 0);
	close(q[1]);
	return 0;
}

int main(void)
{
	pthread_t s, t;
	char b[5000];
	long all = 0, n;
	MUST(!pipe(p) && !pipe(q));
	pthread_create(&s, 0, source, 0);
	pthread_create(&t, 0, between, 0);
	while ((n = read(q[0], b, sizeof b)) > 0)
		all += n;
	pthread_join(s, 0);
	pthread_join(t, 0);
	printf("%ld\n", all);
	return all != ALL;
}

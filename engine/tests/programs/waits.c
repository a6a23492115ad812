// Three threads one after the other, each of which sleeps ten times for a millisecond.
#include "show.h"
#include <pthread.h>
#include <time.h>

static void *sleeper(void *unused)
{
	for (int i = 0; i < 10; i++)
		MUST(!nanosleep(&(struct timespec){ 0, 1000000 }, 0));
	return 0;
}

int main(void)
{
	pthread_t thread;
	for (int i = 0; i < 3; i++)
		MUST(!pthread_create(&thread, 0, sleeper, 0) && !pthread_join(thread, 0));
	return 0;
}

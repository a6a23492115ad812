#include "show.h"
#include <mqueue.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

// Threads that wait in the kernel for what others send, and have it written to their memory.
int msg, sem;
mqd_t mq;
sigset_t set;
struct { long type; char text[40]; } m[2];
char text[64];
unsigned priority[2];
siginfo_t info[2];

void *message(void *arg)
{
	FRESH(m);
	MUST(msgrcv(msg, m, 40, 0, 0) == 17 && m[0].type == 3);
	return 0;
}

void *queue(void *arg)
{
	FRESH(text);
	FRESH(priority);
	MUST(mq_receive(mq, text, sizeof text, priority) == 5 && priority[0] == 6);
	return 0;
}

void *signalled(void *arg)
{
	FRESH(info);
	MUST(syscall(SYS_rt_sigtimedwait, &set, info, 0, 8) == SIGUSR1 && info[0].si_value.sival_int == 9);
	return 0;
}

void *semaphore(void *arg)
{
	struct sembuf down = { 0, -2, 0 };
	MUST(semop(sem, &down, 1) == 0);
	return 0;
}

int main(void)
{
	pthread_t t[4];
	char name[40];
	struct mq_attr a = { 0, 3, sizeof text };
	struct sembuf up = { 0, 1, 0 };
	struct { long type; char text[17]; } out = { 3, "from another one" };
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, 0);
	snprintf(name, sizeof name, "/rrtest-inside-%d", getpid());
	MUST((mq = mq_open(name, O_CREAT | O_RDWR, 0600, &a)) >= 0 && !mq_unlink(name));
	MUST((msg = msgget(IPC_PRIVATE, 0600)) >= 0 && (sem = semget(IPC_PRIVATE, 1, 0600)) >= 0);
	pthread_create(t, 0, message, 0);
	pthread_create(t + 1, 0, queue, 0);
	pthread_create(t + 2, 0, signalled, 0);
	pthread_create(t + 3, 0, semaphore, 0);
	usleep(1000);
	MUST(!semop(sem, &up, 1));
	MUST(!msgsnd(msg, &out, 17, 0));
	MUST(!mq_send(mq, "words", 5, 6));
	MUST(!pthread_sigqueue(t[2], SIGUSR1, (union sigval){ 9 }));
	MUST(!semop(sem, &up, 1));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], 0);
	SHOW(0, m);
	SHOW(0, text);
	SHOW(0, priority);
	SHOW(0, info);
	msgctl(msg, IPC_RMID, 0);
	semctl(sem, 0, IPC_RMID);
	return 0;
}

#include "show.h"
#include <mqueue.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <fcntl.h>

int msg, sem;

int main(void)
{
	struct { long type; char text[40]; } m[2];
	struct msqid_ds md[2];
	struct semid_ds sd[2];
	struct shmid_ds hd[2];
	long info[32];
	unsigned short all[8];
	msg = msgget(IPC_PRIVATE, 0600);
	sem = semget(IPC_PRIVATE, 3, 0600);
	int shm = shmget(IPC_PRIVATE, 5000, 0600);
	MUST(msg >= 0 && sem >= 0 && shm >= 0);
	FRESH(m);
	m->type = 3;
	PLAIN(msgsnd(msg, m, 17, 0));
	FRESH(md);
	SHOW(msgctl(msg, IPC_STAT, md), md);
	MUST(md[0].msg_qnum == 1);
	memset(m, 0, sizeof m);
	SHOW(msgrcv(msg, m, 40, 0, 0), m);
	MUST(m[0].type == 3);
	SHOW(msgrcv(msg, m, 40, 0, IPC_NOWAIT), m);
	SHOW(msgctl(msg, IPC_INFO, (void *)info), info);
	SHOW(msgctl(0, MSG_INFO, (void *)info), info);

	unsigned short set[3] = { 4, 0, 9 };
	PLAIN(semctl(sem, 0, SETALL, set));
	struct sembuf ops[2] = { { 0, -1, 0 }, { 1, 2, SEM_UNDO } };
	PLAIN(semop(sem, ops, 2));
	FRESH(all);
	SHOW(semctl(sem, 0, GETALL, all), all);
	MUST(all[0] == 3 && all[1] == 2 && all[2] == 9 && all[3] == 0x5a5a);
	PLAIN(semctl(sem, 0, GETVAL));
	FRESH(sd);
	SHOW(semctl(sem, 0, IPC_STAT, sd), sd);
	MUST(sd[0].sem_nsems == 3);
	struct timespec ts = { 0, 1000 };
	ops[0].sem_op = -100;
	MUST(semtimedop(sem, ops, 1, &ts) == -1 && errno == EAGAIN);
	FRESH(info);
	SHOW(semctl(0, 0, SEM_INFO, (void *)info), info);

	FRESH(hd);
	SHOW(shmctl(shm, IPC_STAT, hd), hd);
	MUST(hd[0].shm_segsz == 5000);
	FRESH(info);
	SHOW(shmctl(0, IPC_INFO, (void *)info), info);
	SHOW(shmctl(0, SHM_INFO, (void *)info), info);
	PLAIN(msgctl(msg, IPC_RMID, 0));
	PLAIN(semctl(sem, 0, IPC_RMID));
	PLAIN(shmctl(shm, IPC_RMID, 0));

	char name[40], text[64];
	struct mq_attr a = { 0, 3, sizeof text }, old[2];
	unsigned priority[2];
	snprintf(name, sizeof name, "/rrtest-%d", getpid());
	int q = mq_open(name, O_CREAT | O_RDWR, 0600, &a);
	if (q >= 0) {
		FRESH(old);
		FRESH(text);
		FRESH(priority);
		PLAIN(mq_send(q, "words", 5, 6));
		SHOW(mq_getattr(q, old), old);
		SHOW(mq_receive(q, text, sizeof text, priority), text);
		SHOW(0, priority);
		MUST(priority[0] == 6 && mq_unlink(name) == 0);
	}
	return 0;
}

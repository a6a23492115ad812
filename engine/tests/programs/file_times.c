// What tells when something was agrees with the program's clocks on both sides of a sleep of an hour and a tenth of a second.
#include "show.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <utime.h>

#define SLEEP 3600.1
// By how much the kernel's stamps may be behind: they move with its clock tick.
#define TICK 0.02
// Much less than an hour, much more than any machine needs.
#define SLACK 100

static double seconds(struct timespec t)
{
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double now(void)
{
	struct timespec t;
	MUST(clock_gettime(CLOCK_REALTIME, &t) == 0);
	return seconds(t);
}

static void pass(void)
{
	struct timespec time = { 3600, 100000000 };
	MUST(nanosleep(&time, 0) == 0);
}

static double mtime(const char *path)
{
	struct stat s;
	MUST(stat(path, &s) == 0);
	return seconds(s.st_mtim);
}

static double ctime_of(const char *path)
{
	struct stat s;
	MUST(lstat(path, &s) == 0);
	return seconds(s.st_ctim);
}

static double atime_of(const char *path)
{
	struct stat s;
	MUST(stat(path, &s) == 0);
	return seconds(s.st_atim);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	MUST(fd >= 0 && write(fd, text, strlen(text)) == strlen(text) && close(fd) == 0);
}

// What happens to the file or directory `f`, or what it is, each behind a sleep: `of` must be the present then.
static void write_again(void) { put("f", "again"); }
static void append(void)
{
	int fd = open("f", O_WRONLY | O_APPEND);
	MUST(write(fd, "x", 1) == 1 && close(fd) == 0);
}
static int held;
static void write_held(void) { MUST(write(held, "y", 1) == 1); }
static void pwrite_held(void) { MUST(pwrite(held, "z", 1, 0) == 1); }
static void cut(void) { MUST(truncate("f", 3) == 0); }
static void cut_held(void) { MUST(ftruncate(held, 2) == 0); }
static void mode(void) { MUST(chmod("f", 0644) == 0); }
static void touch(void) { MUST(utimensat(AT_FDCWD, "f", 0, 0) == 0); }
static void touch_both(void)
{
	struct timespec times[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	MUST(futimens(held, times) == 0);
}
static void touch_old(void) { MUST(utime("f", 0) == 0); }
static void rename_it(void) { MUST(rename("f", "g") == 0 && rename("g", "f") == 0); }
static void link_it(void) { MUST(link("f", "l") == 0 && unlink("l") == 0); }
static void make_in(void) { put("d/new", ""); }
static void remove_in(void) { MUST(unlink("d/new") == 0); }
static void make_dir_in(void) { MUST(mkdir("d/d", 0700) == 0); }
static void remove_dir_in(void) { MUST(rmdir("d/d") == 0); }
static void link_in(void) { MUST(symlink("f", "d/s") == 0); }
static void bind_in(void)
{
	struct sockaddr_un at = { AF_UNIX, "d/socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(bind(fd, (void *)&at, sizeof at) == 0 && close(fd) == 0);
}
static void by_child(void)
{
	int child = fork(), status;
	if (child == 0) {
		put("f", "child");
		_exit(0);
	}
	MUST(waitpid(child, &status, 0) == child && status == 0);
}

static const struct {
	const char *name, *path;
	void (*change)(void);
	double (*time)(const char *);
} changes[] = {
#define CHANGE(change, path, time) { #change, path, change, time }
	CHANGE(write_again, "f", mtime),   CHANGE(append, "f", mtime),	     CHANGE(write_held, "f", mtime),
	CHANGE(pwrite_held, "f", mtime),   CHANGE(cut, "f", mtime),	     CHANGE(cut_held, "f", mtime),
	CHANGE(mode, "f", ctime_of),	   CHANGE(touch, "f", mtime),	     CHANGE(touch_both, "f", mtime),
	CHANGE(touch_old, "f", mtime),	   CHANGE(rename_it, "f", ctime_of), CHANGE(link_it, "f", ctime_of),
	CHANGE(make_in, "d", mtime),	   CHANGE(remove_in, "d", mtime),    CHANGE(make_dir_in, "d", mtime),
	CHANGE(remove_dir_in, "d", mtime), CHANGE(link_in, "d", mtime),	     CHANGE(bind_in, "d", mtime),
	CHANGE(by_child, "f", mtime),
};

static void check_changes(void)
{
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		double before = now();
		pass();
		MUST(now() - before >= SLEEP);
		double old = changes[i].time(changes[i].path), start = now();
		changes[i].change();
		double stamp = changes[i].time(changes[i].path), end = now();
		if (stamp < start - TICK || stamp > end || old > before) {
			printf("%s: %f before, %f after, in %f to %f\n", changes[i].name, old - start, stamp - start,
			       before - start, end - start);
			_exit(1);
		}
		printf("%s\n", changes[i].name);
	}
}

// The kernel stamps the file without a call; not all file systems do.
static void check_mapped(void)
{
	char *mapped = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, held, 0);
	MUST(mapped != MAP_FAILED);
	for (int i = 0; i < 3; i++) {
		double old = mtime("f");
		pass();
		double start = now();
		mapped[0]++;
		MUST(msync(mapped, 4096, MS_SYNC) == 0);
		double stamp = mtime("f");
		MUST(stamp == old || stamp >= start - TICK && stamp <= now());
	}
}

// By every call that tells.
static void check_calls(void)
{
	struct stat s[3];
	struct statx x;
	unlink("t");
	put("t", "t");
	int fd = open("t", O_RDONLY);
	double made = now();
	pass();
	MUST(stat("t", s) == 0 && lstat("t", s + 1) == 0 && fstat(fd, s + 2) == 0);
	MUST(statx(AT_FDCWD, "t", 0, STATX_ALL, &x) == 0);
	double mtime = seconds(s[0].st_mtim);
	MUST(made - mtime >= 0 && made - mtime < TICK);
	for (int i = 1; i < 3; i++)
		MUST(memcmp(&s[0].st_atim, &s[i].st_atim, 48) == 0);
	MUST(fstatat(AT_FDCWD, "t", s + 1, 0) == 0 && memcmp(&s[0].st_atim, &s[1].st_atim, 48) == 0);
	MUST(syscall(SYS_stat, "t", s + 1) == 0 && memcmp(&s[0].st_atim, &s[1].st_atim, 48) == 0);
	MUST(x.stx_mtime.tv_sec == s[0].st_mtim.tv_sec && x.stx_mtime.tv_nsec == s[0].st_mtim.tv_nsec);
	MUST(x.stx_ctime.tv_sec == s[0].st_ctim.tv_sec && x.stx_ctime.tv_nsec == s[0].st_ctim.tv_nsec);
	MUST(x.stx_atime.tv_sec == s[0].st_atim.tv_sec && x.stx_atime.tv_nsec == s[0].st_atim.tv_nsec);
	if (x.stx_mask & STATX_BTIME)
		MUST(x.stx_btime.tv_sec <= x.stx_mtime.tv_sec && made - x.stx_btime.tv_sec < SLACK);
	// Reading stamps, if the file has been written since it was last read.
	char byte;
	put("t", "u");
	double start = now();
	MUST(pread(fd, &byte, 1, 0) == 1);
	MUST(fstat(fd, s) == 0);
	MUST(seconds(s->st_atim) == seconds(s[2].st_atim) || seconds(s->st_atim) >= start - TICK);
	close(fd);
}

// What a program sets is what it is told, whenever it looks; what others had set before as well.
static void check_set(void)
{
	struct timespec present, times[2];
	MUST(clock_gettime(CLOCK_REALTIME, &present) == 0);
	const struct timespec set[] = { present, { present.tv_sec + 1800, 5 }, { present.tv_sec - 1800, 7 },
					{ present.tv_sec + 100000000, 9 }, { 1000000000, 0 }, { 0, 1 } };
	for (int i = 0; i < 6; i++) {
		char name[] = "s0";
		name[1] += i;
		put(name, name);
		times[0] = times[1] = set[i];
		MUST(utimensat(AT_FDCWD, name, times, 0) == 0);
	}
	// As the others take them.
	struct timeval micro[2] = { { present.tv_sec + 60, 7 }, { present.tv_sec + 61, 8 } };
	struct utimbuf whole = { present.tv_sec + 62, present.tv_sec + 63 };
	put("u1", ""), put("u2", "");
	MUST(syscall(SYS_utimes, "u1", micro) == 0 && syscall(SYS_utime, "u2", &whole) == 0);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 6; i++) {
			char name[] = "s0";
			name[1] += i;
			struct stat s;
			MUST(stat(name, &s) == 0);
			MUST(s.st_mtim.tv_sec == set[i].tv_sec && s.st_mtim.tv_nsec == set[i].tv_nsec);
			MUST(s.st_atim.tv_sec == set[i].tv_sec && s.st_atim.tv_nsec == set[i].tv_nsec);
		}
		struct stat s;
		MUST(stat("u1", &s) == 0 && s.st_mtim.tv_sec == present.tv_sec + 61 && s.st_mtim.tv_nsec == 8000);
		MUST(stat("u2", &s) == 0 && s.st_atim.tv_sec == present.tv_sec + 62 && s.st_atim.tv_nsec == 0);
		pass();
	}
	// What is told can be given to another.
	put("a", ""), put("b", "");
	pass();
	put("a", "a");
	struct stat a, b;
	MUST(stat("a", &a) == 0);
	times[0] = a.st_atim, times[1] = a.st_mtim;
	MUST(utimensat(AT_FDCWD, "b", times, 0) == 0);
	for (int round = 0; round < 3; round++) {
		MUST(stat("a", &a) == 0 && stat("b", &b) == 0 && memcmp(&a.st_mtim, &b.st_mtim, sizeof a.st_mtim) == 0);
		pass();
	}
	put("b", "newer");
	MUST(mtime("b") > mtime("a") + SLEEP);
}

// make(1)'s question, many times.
static void check_newer(void)
{
	for (int i = 0; i < 50; i++) {
		put("source", "s"), put("target", "t");
		MUST(mtime("target") >= mtime("source"));
		usleep(1100000 + i);
		put("source", "s");
		MUST(mtime("source") - mtime("target") >= 1.1 - TICK && mtime("source") - mtime("target") < SLACK);
		usleep(i);
		put("target", "t");
		MUST(mtime("target") >= mtime("source"));
		MUST(now() >= mtime("target"));
	}
}

static void check_system(void)
{
	struct sysinfo info[2];
	struct tms used;
	struct timex adjust;
	struct timespec up;
	clock_t ticks = times(&used);
	MUST(sysinfo(info) == 0);
	pass();
	clock_t later = times(&used);
	MUST(sysinfo(info + 1) == 0);
	MUST(later - ticks >= (SLEEP - TICK) * 100 && later - ticks < (SLEEP + SLACK) * 100);
	MUST(info[1].uptime - info[0].uptime >= 3600 && info[1].uptime - info[0].uptime < SLEEP + SLACK);
	MUST(clock_gettime(CLOCK_BOOTTIME, &up) == 0 && up.tv_sec + 1 - info[1].uptime < SLACK);
	for (int i = 0; i < 2; i++) {
		double start = now();
		memset(&adjust, 0, sizeof adjust);
		MUST((i ? clock_adjtime(CLOCK_REALTIME, &adjust) : adjtimex(&adjust)) >= 0);
		double at = adjust.time.tv_sec + adjust.time.tv_usec / (adjust.status & STA_NANO ? 1e9 : 1e6);
		MUST(at >= start - TICK && at <= now());
	}
}

// The rest of a text is that of the same text.
static void read_text(const char *path, char *text, size_t piece)
{
	int fd = open(path, O_RDONLY), len = 0, got;
	MUST(fd >= 0);
	while ((got = read(fd, text + len, piece)) > 0)
		len += got;
	MUST(got == 0 && lseek(fd, 0, SEEK_CUR) == len);
	text[len] = 0;
	char again[1024];
	int all = pread(fd, again, sizeof again, 0);
	MUST(lseek(fd, 0, SEEK_SET) == 0 && read(fd, text + len + 1, 1) == 1 && close(fd) == 0);
	MUST(all > 0);
}

static double uptime(void)
{
	char text[1024];
	read_text("/proc/uptime", text, 3);
	return atof(text);
}

// When a process was started, in seconds since the machine was.
static double started(int pid)
{
	char path[64], text[2048];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	read_text(path, text, 7);
	char *field = strrchr(text, ')') + 2;
	for (int i = 3; i < 22; i++)
		field = strchr(field, ' ') + 1;
	return atof(field) / 100;
}

static void check_proc(void)
{
	struct timespec up;
	double own = started(getpid());
	pass();
	MUST(clock_gettime(CLOCK_BOOTTIME, &up) == 0);
	MUST(uptime() - seconds(up) > -TICK && uptime() - seconds(up) < SLACK);
	int child = fork(), status;
	if (child == 0) {
		pause();
		_exit(0);
	}
	MUST(started(getpid()) == own);
	double start = started(child);
	MUST(start >= seconds(up) - TICK && start <= uptime() + TICK);
	pass();
	MUST(started(child) == start && uptime() - start >= SLEEP - 2 * TICK);
	MUST(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
}

static void check_ipc(void)
{
	struct shmid_ds shm;
	struct msqid_ds msg;
	struct semid_ds sem;
	struct { long type; char text; } message = { 1, 'x' };
	struct sembuf up = { 0, 1, 0 };
	int m = shmget(IPC_PRIVATE, 4096, 0600), q = msgget(IPC_PRIVATE, 0600), s = semget(IPC_PRIVATE, 1, 0600);
	MUST(m >= 0 && q >= 0 && s >= 0);
	time_t made = time(0);
	pass();
	void *at = shmat(m, 0, 0);
	MUST(msgsnd(q, &message, 1, 0) == 0 && semop(s, &up, 1) == 0);
	time_t used = time(0);
	pass();
	MUST(shmdt(at) == 0 && msgrcv(q, &message, 1, 0, 0) == 1);
	time_t left = time(0);
	pass();
	MUST(shmctl(m, IPC_STAT, &shm) == 0 && msgctl(q, IPC_STAT, &msg) == 0 && semctl(s, 0, IPC_STAT, &sem) == 0);
	// A second of theirs may just have been over.
#define IS(time, when) MUST((when) - (time) <= 1 && (time) <= (when))
	IS(shm.shm_ctime, made);
	IS(msg.msg_ctime, made);
	IS(sem.sem_ctime, made);
	IS(shm.shm_atime, used);
	IS(msg.msg_stime, used);
	IS(sem.sem_otime, used);
	IS(shm.shm_dtime, left);
	IS(msg.msg_rtime, left);
	MUST(used - made >= 3600 && left - used >= 3600 && time(0) - left >= 3600);
	shmctl(m, IPC_RMID, 0), msgctl(q, IPC_RMID, 0), semctl(s, 0, IPC_RMID);
}

static void check_packets(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = { AF_INET, 0, { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof to;
	MUST(bind(fd, (void *)&to, len) == 0 && getsockname(fd, (void *)&to, &len) == 0);
	MUST(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) == 0);
	pass();
	double start = now();
	MUST(sendto(fd, "x", 1, 0, (void *)&to, len) == 1);
	double end = now();
	pass();
	char byte, control[128];
	struct iovec iov = { &byte, 1 };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	double look = now();
	MUST(recvmsg(fd, &header, 0) == 1);
	struct cmsghdr *first = CMSG_FIRSTHDR(&header);
	MUST(first && first->cmsg_type == SCM_TIMESTAMPNS);
	double came = seconds(*(struct timespec *)CMSG_DATA(first));
	// Stamping may begin only now (SO_TIMESTAMP has just been asked for): then it is the time of the look.
	MUST(came >= start && came <= end || came >= look && came <= now());
	close(fd);
}

int main(void)
{
	setlinebuf(stdout);
	put("f", "first");
	MUST(mkdir("d", 0700) == 0 || errno == EEXIST);
	unlink("d/s"), unlink("d/socket"), unlink("d/new");
	held = open("f", O_RDWR);
	check_newer();
	check_calls();
	check_set();
	check_system();
	check_proc();
	check_ipc();
	check_packets();
	write_again();
	MUST(mkdir("d/x", 0700) == 0 && rmdir("d/x") == 0);
	check_changes();
	check_mapped();
	return 0;
}

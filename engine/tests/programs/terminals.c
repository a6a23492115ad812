// Processes that read, write and set their terminal in the background (termios(3), "Job control").
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { NO_INPUT = 5 };

static int tty;

static void background(const char *what, int how, int ignore){
	fflush(stdout);
	pid_t child=fork();
	if(child==0){
		setpgid(0,0);
		if(ignore) { signal(SIGTTOU,SIG_IGN); signal(SIGTTIN,SIG_IGN);} 
		errno=0; long r=0; char b[8];
		struct termios t;
		if(how==0||how==NO_INPUT){ r=read(tty,b,8);} 
		if(how==1){ r=write(tty,"hello",5);} 
		if(how==2){ tcgetattr(tty,&t); r=tcsetattr(tty,TCSANOW,&t);} 
		if(how==3){ r=tcflush(tty,TCIFLUSH);} 
		if(how==4){ r=tcsetpgrp(tty,getpgrp());} 
		dprintf(1,"%s: %ld %d\n",what,r,r<0?errno:0);
		_exit(0);
	}
	int st; setpgid(child,child);
	while (waitpid(child, &st, WUNTRACED) == child && WIFSTOPPED(st)) {
		printf("%s: stopped by %d\n",what,WSTOPSIG(st)); fflush(stdout);
		signal(SIGTTOU,SIG_IGN);
		if (how == NO_INPUT) {
			kill(-child, SIGKILL);
			continue;
		}
		tcsetpgrp(tty, child);
		kill(-child, SIGCONT);
	}
	printf("%s: status %x\n",what,st);
	tcsetpgrp(tty,getpgrp());
	signal(SIGTTOU,SIG_DFL);
}
int main(){
	int master; char name[64];
	if(openpty(&master,&tty,name,0,0)) return 1;
	fflush(stdout);
	pid_t leader=fork();
	if(leader==0){
		setsid(); ioctl(tty,TIOCSCTTY,0);
		struct termios t; tcgetattr(tty,&t); t.c_lflag|=TOSTOP; tcsetattr(tty,TCSANOW,&t);
		signal(SIGTTOU,SIG_IGN); tcsetpgrp(tty,getpgrp()); signal(SIGTTOU,SIG_DFL);
		background("read without input",NO_INPUT,0);
		write(master,"in\n",3);
		background("read",0,0);
		background("write",1,0);
		background("tcsetattr",2,0);
		background("tcflush",3,0);
		background("tcsetpgrp",4,0);
		write(master,"in\n",3);
		background("read ignored",0,1);
		background("write ignored",1,1);
		fflush(stdout);
		_exit(0);
	}
	int st; waitpid(leader,&st,0); printf("leader %x\n",st);
	char b[100]; int n=read(master,b,100); printf("%d\n",n);
	return 0;
}

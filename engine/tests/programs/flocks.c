#include <pthread.h>
#include <unistd.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
int n;
void*r(void*a){for(int i=0;i<5;i++){int f=open("lk",O_CREAT|O_RDWR,0600);struct flock l={.l_type=F_WRLCK};fcntl(f,F_OFD_SETLKW,&l);int v=n;usleep(100);n=v+1;close(f);}return 0;}
void*s(void*a){for(int i=0;i<5;i++){int f=open("lk2",O_CREAT|O_RDWR,0600);flock(f,LOCK_EX);int v=n;usleep(100);n=v+1;close(f);}return 0;}
void*o(void*a){int f=open("ff",O_RDONLY);char c;read(f,&c,1);return 0;}
int main(int c,char**v){pthread_t t[3];void*(*fn)(void*)=v[1][1]==0x70?o:v[1][0]==0x66?s:r;
if(fn==o){unlink("ff");mkfifo("ff",0600);pthread_create(t,0,o,0);usleep(1000);int f=open("ff",O_WRONLY);write(f,"x",1);pthread_join(*t,0);puts("ok");return 0;}
for(int i=0;i<3;i++)pthread_create(t+i,0,fn,0);for(int i=0;i<3;i++)pthread_join(t[i],0);printf("%d\n",n);return n!=15;}

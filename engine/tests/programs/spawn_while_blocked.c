#include <pthread.h>
#include <unistd.h>
#include <stdio.h>
int p[2];
void*r(void*a){char c;read(p[0],&c,1);return 0;}
void*q(void*a){return 0;}
int main(){pipe(p);pthread_t t,u;pthread_create(&t,0,r,0);for(int i=0;i<50;i++){sched_yield();pthread_create(&u,0,q,0);pthread_join(u,0);}
write(p[1],"x",1);pthread_join(t,0);puts("ok");}

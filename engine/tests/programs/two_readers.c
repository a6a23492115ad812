#include <pthread.h>
#include <unistd.h>
#include <stdio.h>
int p[2];
void*r(void*a){char c;int n=0;while(read(p[0],&c,1)==1)n++;return (void*)(long)n;}
int main(){pipe(p);pthread_t t[4];for(int i=0;i<4;i++)pthread_create(t+i,0,r,0);
for(int i=0;i<100;i++)write(p[1],"x",1);
close(p[1]);long s=0;for(int i=0;i<4;i++){void*v;pthread_join(t[i],&v);s+=(long)v;}printf("%ld\n",s);return s!=100;}

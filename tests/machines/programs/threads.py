"""Threads that share a queue, hash what they take from it and wait for each other."""
import hashlib
import queue
import re
import threading

tasks, done = queue.Queue(), []
lock = threading.Lock()
barrier = threading.Barrier(4)


def work():
    barrier.wait()
    while (n := tasks.get()) is not None:
        text = " ".join(str(i * n) for i in range(200))
        digest = hashlib.sha256(text.encode()).hexdigest()
        with lock:
            done.append((threading.current_thread().name, n, digest, len(re.findall("7+", text))))


for n in range(40):
    tasks.put(n)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    tasks.put(None)
    thread.start()
for thread in threads:
    thread.join()
# In the order in which they were done, which is the recording's own.
for line in done:
    print(*line)
print(sum(i / 7 for i in range(1, 1000)), 2.0**0.5, float("1e-7") * 3)

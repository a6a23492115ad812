//! Threads and what they synchronise with.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

fn main() {
    let (sender, receiver) = mpsc::channel();
    let state = Arc::new((Mutex::new(0), Condvar::new(), AtomicU64::new(0)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (sender, state) = (sender.clone(), Arc::clone(&state));
            thread::spawn(move || {
                for number in 0..100 {
                    *state.0.lock().unwrap() += 1;
                    state.1.notify_one();
                    state.2.fetch_max(number, Ordering::Relaxed);
                    sender.send(number).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let guard = state.1.wait_while(state.0.lock().unwrap(), |count| *count < 400).unwrap();
    assert_eq!(*guard, 400);
    drop(guard);
    assert_eq!(receiver.iter().sum::<u64>(), 4 * 4950);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(state.2.load(Ordering::Relaxed), 99);
}

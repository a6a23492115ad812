//! Fails in the way that its argument says.

use std::panic::catch_unwind;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    match &*how {
        "joined" => {
            let _ = catch_unwind(|| deep("caught"));
            let worker = thread::Builder::new().name("worker".to_owned()).spawn(|| deep("a worker fails"));
            worker.expect("a thread").join().unwrap()
        }
        "nearly" => {
            // Twice, without anything in between that counts.
            for _ in 0..2 {
                let _ = catch_unwind(|| deep("caught"));
            }
            deep("not caught")
        }
        "caught" => {
            let _ = catch_unwind(|| deep("caught"));
            last_words(3)
        }
        "passes" => {
            let _ = catch_unwind(|| deep("caught"));
        }
        "aborts" => std::process::abort(),
        "faults" => fault(std::hint::black_box(16)),
        "deadlocks" => deadlock(),
        "child" => {
            let program = std::env::current_exe().expect("this program");
            let status = Command::new(program).arg("nearly").status().expect("a child");
            last_words(status.code().unwrap_or_default())
        }
        other => unreachable!("{other}"),
    }
}

#[inline(never)]
fn deep(words: &str) {
    panic!("{words}")
}

#[inline(never)]
fn last_words(code: i32) -> ! {
    println!("last words");
    std::process::exit(code)
}

#[inline(never)]
fn fault(address: usize) {
    // SAFETY: none, which is what this is for.
    unsafe { std::ptr::without_provenance_mut::<u8>(address).write_volatile(1) }
}

fn deadlock() {
    let both = Arc::new((Mutex::new(1), Mutex::new(2)));
    let other = Arc::clone(&both);
    let held = both.0.lock().expect("the first");
    let taker = thread::Builder::new().name("taker".to_owned()).spawn(move || take(&other));
    taker.expect("a thread").join().expect("an end");
    drop(held);
}

#[inline(never)]
fn take(both: &(Mutex<i32>, Mutex<i32>)) {
    let _second = both.1.lock().expect("the second");
    let _first = both.0.lock().expect("the first");
}

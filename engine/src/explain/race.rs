//! Whether a preemption shows a data race: conflicting accesses, at least one of them plain, that nothing orders.
//!
//! After Sen, "Race Directed Random Testing of Concurrent Programs" (PLDI 2008): one task is held right before an access,
//! and meanwhile another one makes an access that conflicts with it. Nothing can order the two. For the second to come
//! before the first in happens-before, the task that is held would have to acquire something after the other's access;
//! for the opposite, to release something after its own. It does neither: it stands between its tick and its access.
//!
//! A happens-before check with vector clocks over all operations (Flanagan & Freund, "FastTrack: Efficient and Precise
//! Dynamic Race Detection", PLDI 2009) finds more races, but has to see every synchronisation. The standard library's own
//! code is compiled in advance, without ticks: it takes contended locks, parks and unparks, and starts and joins threads by
//! atomic operations that nobody sees. What seemed to be ordered by nothing might be ordered by those.

use crate::mark::{Access, Mark};
use crate::schedule::script::{Spot, Turn};

/// What two accesses are that a program's failure depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A data race: undefined behaviour.
    DataRace,
    /// Both are atomic. Their order matters, and is allowed to be either.
    RaceCondition,
}

/// Accesses that conflict, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Race<'a> {
    /// The access before which its task is held.
    pub held: &'a Mark,
    /// The one that another task makes meanwhile.
    pub meanwhile: &'a Mark,
    /// What they are.
    pub verdict: Verdict,
}

/// Returns the turns during which a task is held before the operation at a place; none if it never is. The place is that of
/// a preemption.
#[must_use]
pub fn turns_meanwhile(turns: &[Turn], held: Spot) -> &[Turn] {
    let is_held = |turn: &Turn| turn.task == held.task && turn.to == held.ticks && turn.from < turn.to;
    let Some(at) = turns.iter().position(is_held) else { return &[] };
    let rest = &turns[at + 1..];
    let end = rest.iter().position(|turn| turn.task == held.task).unwrap_or(rest.len());
    &rest[..end]
}

/// Finds the race of a preemption: among the marks of a run there must be that of the place where a task was held, and
/// those of the operations of others in the turns meanwhile. A data race goes first. `None` if nothing is certain.
#[must_use]
pub fn race<'a>(marks: &'a [Mark], held: Spot, meanwhile: &[Turn]) -> Option<Race<'a>> {
    let held = marks.iter().find(|mark| mark.spot == held)?;
    let access = held.access.as_ref()?;
    // The last operation that a task has come to in its turn is not yet done.
    let is_done = |spot: Spot| {
        meanwhile.iter().any(|turn| turn.task == spot.task && (turn.from + 1..turn.to).contains(&spot.ticks))
    };
    let of = |wanted: Verdict| {
        let is_so = |mark: &&Mark| mark.access.as_ref().and_then(|it| verdict(access, it)) == Some(wanted);
        let meanwhile = marks.iter().filter(|mark| is_done(mark.spot)).find(is_so)?;
        Some(Race { held, meanwhile, verdict: wanted })
    };
    of(Verdict::DataRace).or_else(|| of(Verdict::RaceCondition))
}

/// Judges two accesses of different tasks, of which one is held while the other is made.
fn verdict(held: &Access, meanwhile: &Access) -> Option<Verdict> {
    // How long they are is unknown, but not that each has its first byte.
    let same_memory = (held.space, held.address) == (meanwhile.space, meanwhile.address);
    if !same_memory || !(held.writes || meanwhile.writes) {
        return None;
    }
    match (held.atomic, meanwhile.atomic) {
        (false, _) => Some(Verdict::DataRace),
        (true, true) => Some(Verdict::RaceCondition),
        // By its own operation the held task may yet acquire what the other has released at this address since.
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::{A, B};
    use crate::strike::Thread;
    use crate::task::TaskId;

    const PLAIN: Access = Access { address: 0x100, writes: true, atomic: false, space: 0 };
    const ATOMIC: Access = Access { atomic: true, ..PLAIN };

    fn mark(task: TaskId, ticks: u64, access: Access) -> Mark {
        let thread = Thread { task, name: "t".into(), ambiguous: false };
        Mark { spot: Spot { task, ticks }, thread, operation: None, access: Some(access), frames: Vec::new() }
    }

    #[test]
    fn what_conflicts_with_a_plain_access_that_is_held_is_a_data_race() {
        let read = Access { writes: false, ..PLAIN };
        let data_race = Some(Verdict::DataRace);
        assert_eq!(verdict(&PLAIN, &PLAIN), data_race);
        assert_eq!(verdict(&read, &PLAIN), data_race);
        assert_eq!(verdict(&PLAIN, &read), data_race);
        assert_eq!(verdict(&PLAIN, &ATOMIC), data_race);
        assert_eq!(verdict(&read, &read), None, "they do not conflict");
        assert_eq!(verdict(&PLAIN, &Access { address: 0x108, ..PLAIN }), None, "it is elsewhere");
        assert_eq!(verdict(&PLAIN, &Access { space: 1, ..PLAIN }), None, "it is another process's memory");
    }

    #[test]
    fn atomic_accesses_are_no_data_race() {
        assert_eq!(verdict(&ATOMIC, &ATOMIC), Some(Verdict::RaceCondition));
        assert_eq!(verdict(&ATOMIC, &PLAIN), None, "it may acquire what is released there");
    }

    #[test]
    fn only_what_is_done_while_the_task_is_held_counts() {
        let turn = |task, from, to| Turn { task, from, to };
        let turns = [turn(A, 0, 4), turn(B, 0, 3), turn(A, 4, 9), turn(B, 3, 8)];
        let held = Spot { task: A, ticks: 4 };
        assert_eq!(turns_meanwhile(&turns, held), [turns[1]]);
        assert_eq!(turns_meanwhile(&turns, Spot { ticks: 5, ..held }), []);
        let marks = |ticks| [mark(A, 4, PLAIN), mark(B, ticks, PLAIN)];
        let found = |ticks| race(&marks(ticks), held, &turns[1..2]).map(|race| race.verdict);
        assert_eq!(found(2), Some(Verdict::DataRace));
        assert_eq!(found(3), None, "it has come to that, and not done it");
        assert_eq!(found(4), None, "the task has gone on by then");
        assert_eq!(race(&[], held, &turns[1..2]), None);
    }

    #[test]
    fn a_data_race_goes_first() {
        let marks = [mark(A, 4, PLAIN), mark(B, 1, Access { address: 0x900, ..ATOMIC }), mark(B, 2, PLAIN)];
        let turns = [Turn { task: B, from: 0, to: 5 }];
        let found = race(&marks, marks[0].spot, &turns).expect("a race");
        assert_eq!((found.meanwhile.spot.ticks, found.verdict), (2, Verdict::DataRace));
    }
}

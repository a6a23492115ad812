//! Finds the preemptions of an explained failure in the program as it is now: by function, text of the line and
//! occurrence, so that lines may have moved.

use rrtest_engine::mark::Mark;
use rrtest_engine::schedule::script::{Script, Spot};
use rrtest_engine::task::TaskId;

use super::places::{MOST_MARKS, Places};
use crate::ending::explanation::{Place, Told};

/// Operations that are looked at beyond the one at which a task was preempted: the code before it may have grown.
const BEYOND: u64 = 256;

/// Operations of a function that are tried where its lines have changed.
const NEAREST: usize = 6;

/// The preemptions of an old schedule, each with its window.
#[derive(Debug)]
pub(crate) struct Mapping<'a> {
    script: &'a Script,
    /// The index of each preemption among the script's switches, and its window.
    preemptions: Vec<(usize, &'a Told)>,
}

/// An old schedule in the program as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Each preemption as late as its window allows.
    pub(crate) latest: Script,
    /// Each preemption as early as its window allows.
    pub(crate) earliest: Script,
    /// Schedules with a preemption at another operation of its function, where the lines of its place have changed.
    pub(crate) within: Vec<Script>,
    /// The places whose lines have changed, though the program still comes to their functions. Their preemptions are at the
    /// nearest operation there.
    pub(crate) changed: Vec<Place>,
    /// The places whose functions the program does not come to any more. Their preemptions are where they were.
    pub(crate) gone: Vec<Place>,
}

impl<'a> Mapping<'a> {
    /// Of a script and the windows of its preemptions, in the same order. Where one of them has none, nobody knows whose the
    /// others are: then all stay where they were.
    pub(crate) fn of(script: &'a Script, windows: &'a [Told]) -> Self {
        let at = (0..script.switches.len()).filter(|at| script.switches[*at].preempts());
        let preemptions =
            if script.preemptions() == windows.len() { at.zip(windows).collect() } else { vec![] };
        Self { script, preemptions }
    }

    /// Returns a script that looks at the operations among which the preemptions are to be found; none if there is nothing
    /// to find.
    pub(crate) fn scout(&self) -> Option<Script> {
        let mut furthest: Vec<(TaskId, u64)> = Vec::new();
        for (at, _) in &self.preemptions {
            let Spot { task, ticks } = self.script.switches[*at].at;
            match furthest.iter_mut().find(|(other, _)| *other == task) {
                Some((_, most)) => *most = ticks.max(*most),
                None => furthest.push((task, ticks)),
            }
        }
        let each = MOST_MARKS / furthest.len().max(1) as u64;
        let up_to = |ticks: u64| ticks.saturating_mul(2).saturating_add(BEYOND).min(each);
        let marks: Vec<_> = furthest
            .into_iter()
            .flat_map(|(task, ticks)| (1..=up_to(ticks)).map(move |ticks| Spot { task, ticks }))
            .collect();
        (!marks.is_empty()).then(|| Script { marks, ..Script::default() })
    }

    /// Maps the schedule by what the scout has seen.
    pub(crate) fn map(&self, seen: &[Mark]) -> Mapped {
        let mut places = Places::default();
        places.add(seen);
        let (latest, earliest) = (self.script.clone(), self.script.clone());
        let mut mapped = Mapped { latest, earliest, ..Mapped::default() };
        let mut inside = Vec::new();
        for (at, Told { after, before, .. }) in &self.preemptions {
            let Spot { task, ticks } = self.script.switches[*at].at;
            let find = |place: &Option<Place>| places.find(task, place.as_ref()?);
            let (first, last) = (find(after).map(|ticks| ticks + 1), find(before));
            match first.or(last).zip(last.or(first)) {
                Some((first, last)) => {
                    mapped.latest.switches[*at].at.ticks = last;
                    // Where the two places have changed their order, there is no window any more.
                    mapped.earliest.switches[*at].at.ticks = first.min(last);
                }
                None => {
                    let lost = || before.iter().chain(after);
                    let functions: Vec<&str> = lost().map(|place| place.function.as_str()).collect();
                    let mut near = places.within(task, &functions);
                    near.sort_by_key(|other| other.abs_diff(ticks));
                    near.truncate(NEAREST);
                    let Some(nearest) = near.first() else {
                        mapped.gone.extend(lost().next().cloned());
                        continue;
                    };
                    for script in [&mut mapped.latest, &mut mapped.earliest] {
                        script.switches[*at].at.ticks = *nearest;
                    }
                    mapped.changed.extend(lost().next().cloned());
                    inside.extend(near[1..].iter().map(|ticks| (*at, *ticks)));
                }
            }
        }
        let moved = |(at, ticks): (usize, u64)| {
            let mut script = mapped.latest.clone();
            script.switches[at].at.ticks = ticks;
            script
        };
        mapped.within = inside.into_iter().map(moved).collect();
        mapped
    }
}

#[cfg(test)]
mod tests {
    use rrtest_engine::ending::Frame;
    use rrtest_engine::schedule::Operation;
    use rrtest_engine::schedule::script::{Switch, When};
    use rrtest_engine::strike::Thread;

    use super::*;
    use crate::ending::explanation;

    const TASK: TaskId = TaskId(2);

    /// An old schedule with a preemption before the ninth operation.
    fn script() -> Script {
        let switch = Switch { at: Spot { task: TASK, ticks: 9 }, when: When::Before, to: TaskId(3) };
        Script { switches: vec![switch], ..Script::default() }
    }

    /// A window in `p::add`, between lines of these texts.
    fn window(after: &str, before: &str) -> Told {
        let mut told = explanation::sample().windows.remove(0);
        for (place, text) in [(&mut told.after, after), (&mut told.before, before)] {
            if let Some(place) = place {
                (place.function, place.text) = ("p::add".into(), text.into());
                place.operation = "writes".into();
            }
        }
        told
    }

    /// What is seen of a source with these lines, each of which does one operation in `p::add`, from the third one on.
    fn seen(dir: &tempfile::TempDir, lines: &[&str], function: &str) -> Vec<Mark> {
        let path = dir.path().join("lib.rs");
        std::fs::write(&path, lines.join("\n")).expect("a file");
        let mark = |line: usize| Mark {
            spot: Spot { task: TASK, ticks: line as u64 + 2 },
            thread: Thread { task: TASK, name: "t".into(), ambiguous: false },
            operation: Some(Operation::Memory { address: 0x10, writes: true }),
            access: None,
            frames: vec![Frame {
                address: 1,
                function: Some(function.to_owned()),
                location: Some((path.display().to_string(), line as u32)),
            }],
        };
        (1..=lines.len()).map(mark).collect()
    }

    fn ticks(script: &Script) -> u64 {
        script.switches[0].at.ticks
    }

    #[test]
    fn preemptions_are_where_their_lines_are_now() {
        let dir = tempfile::tempdir().expect("a directory");
        let (script, windows) = (script(), [window("load();", "store();")]);
        let mapping = Mapping::of(&script, &windows);
        let mapped = mapping.map(&seen(&dir, &["new();", "load();", "new();", "store();"], "p::add"));
        assert_eq!((ticks(&mapped.earliest), ticks(&mapped.latest)), (5, 6));
        let half = mapping.map(&seen(&dir, &["new();", "load();"], "p::add"));
        assert_eq!((ticks(&half.earliest), ticks(&half.latest)), (5, 5), "one of two lines is enough");
        assert!(mapped.gone.is_empty() && mapped.changed.is_empty() && half.gone.is_empty());
    }

    #[test]
    fn where_lines_have_changed_the_operations_of_the_function_are_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let (script, windows) = (script(), [window("load();", "store();")]);
        let mapping = Mapping::of(&script, &windows);
        let mapped = mapping.map(&seen(&dir, &["one();", "two();", "three();"], "p::add"));
        assert_eq!((ticks(&mapped.latest), mapped.changed.len(), mapped.gone.len()), (5, 1, 0));
        assert_eq!(mapped.within.iter().map(ticks).collect::<Vec<_>>(), [4, 3]);
        let gone = mapping.map(&seen(&dir, &["load();", "store();"], "p::plus"));
        assert_eq!((ticks(&gone.latest), gone.changed.len(), gone.gone.len()), (9, 0, 1));
    }

    #[test]
    fn without_windows_nothing_moves_and_nothing_is_looked_for() {
        let script = script();
        let mapping = Mapping::of(&script, &[]);
        assert_eq!((mapping.scout(), mapping.map(&[]).latest), (None, script.clone()));
        let windows = [window("a", "b")];
        let scout = Mapping::of(&script, &windows).scout().expect("a script");
        assert_eq!((scout.marks.len() as u64, scout.switches.len()), (2 * 9 + BEYOND, 0));
    }
}

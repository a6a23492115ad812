//! Finds the preemptions of an explained failure in the program as it is now: by function, text of the line and
//! occurrence, so that lines may have moved.

use rrtest_engine::mark::Mark;
use rrtest_engine::schedule::script::{Script, Spot};
use rrtest_engine::task::TaskId;

use super::places::Places;
use super::work::MOST_MARKS;
use crate::ending::explanation::{Place, Told};

/// Operations that are looked at beyond the one at which a task was preempted: the code before it may have grown.
const BEYOND: u64 = 256;

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
    /// The places that the program does not come to any more. Their preemptions are where they were.
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
        let mut mapped = Mapped { latest, earliest, gone: Vec::new() };
        for (at, Told { after, before, .. }) in &self.preemptions {
            let task = self.script.switches[*at].at.task;
            let find = |place: &Option<Place>| places.find(task, place.as_ref()?);
            let (first, last) = (find(after).map(|ticks| ticks + 1), find(before));
            match first.or(last).zip(last.or(first)) {
                Some((first, last)) => {
                    mapped.latest.switches[*at].at.ticks = last;
                    // Where the two places have changed their order, there is no window any more.
                    mapped.earliest.switches[*at].at.ticks = first.min(last);
                }
                None => mapped.gone.extend(before.iter().chain(after).next().cloned()),
            }
        }
        mapped
    }
}

//! Surprises in what a program is started with: its time zone.
//!
//! A copy of a process that has started up (a fork server) cannot have them: such an attempt starts anew.

use super::Surprises;
use super::strikes::Note;
use crate::program::Program;
use crate::record::time::zone::Zone;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

/// The variable of the environment that says which zone is in force (tzset(3)).
pub(in crate::record) const TZ: &str = "TZ";

/// Zones that are far from each other, with odd offsets, and with changes of them in both halves of the year: the name,
/// and the rule, for machines that do not know the name.
const ZONES: [(&str, &str); 8] = [
    ("UTC", "UTC0"),
    ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/Sao_Paulo", "<-03>3"),
    ("Asia/Kathmandu", "<+0545>-5:45"),
    ("Australia/Lord_Howe", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
    ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("Pacific/Kiritimati", "<+14>-14"),
    ("Pacific/Pago_Pago", "SST11"),
];

impl Surprises {
    /// Returns the program with what surprises have changed of it; `None` if they have changed nothing. To be asked
    /// once.
    pub(in crate::record) fn started(&mut self, program: &Program) -> Option<Program> {
        let kind = Surprise::Tz;
        self.zone = program.env.iter().rev().find(|(name, _)| name == TZ).map(|(_, value)| value.clone());
        if !self.injector.strike(kind, TaskId(0)) {
            return None;
        }
        let (name, rule) = ZONES[self.injector.below(kind, ZONES.len() as u64) as usize];
        let shown = if Zone::is_known(name) { name } else { rule }.to_owned();
        self.zone = Some(shown.clone().into());
        let mut program = program.clone();
        program.env.retain(|(name, _)| name != TZ);
        program.env.push((TZ.into(), shown.clone().into()));
        self.note_strike(Note { shown, ..Note::new(kind, TaskId(0), Doing::Runs) });
        Some(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::options::Options;
    use crate::record::testing::options;
    use crate::schedule::surprise::Surprises as Kinds;

    #[test]
    fn a_program_is_started_in_another_zone_if_so_asked() {
        let env = vec![("A".into(), "b".into()), (TZ.into(), "Mars".into())];
        let program = Program { path: "p".into(), args: Vec::new(), env, cwd: "/".into() };
        let mut zones = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut options = Options { surprises: [Surprise::Tz].into_iter().collect(), ..options() };
            options.plan.seed = seed;
            let mut surprises = Surprises::new(&options);
            let changed = surprises.started(&program);
            let is_right = |changed: &Program| changed.env.len() == 2 && changed.env[0] == program.env[0];
            assert!(changed.as_ref().is_none_or(is_right));
            zones.insert(surprises.zone);
        }
        assert_eq!(zones.len(), ZONES.len() + 1);
        let mut none = Surprises::new(&Options { surprises: Kinds::USUAL, ..options() });
        assert_eq!((none.started(&program), none.zone), (None, Some("Mars".into())));
    }
}

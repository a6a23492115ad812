//! Breakpoints and watchpoints that gdb has set.

use gdbstub::target::ext::breakpoints::WatchKind;

use crate::task::TaskId;
use crate::timeline::{Asked, Breakpoint, Expression, Watch, Watchpoint};

/// What is set.
#[derive(Debug, Default)]
pub(in crate::debug) struct Set {
    breakpoints: Vec<(Kind, Breakpoint)>,
    watchpoints: Vec<(WatchKind, Watchpoint)>,
    /// The conditions of the breakpoint that is set next.
    pub(in crate::debug) conditions: Vec<Expression>,
}

/// As what gdb has set a breakpoint: it is told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::debug) enum Kind {
    Software,
    Hardware,
}

impl Set {
    /// What is to be stopped for in a process.
    pub(in crate::debug) fn asked(&self, process: TaskId) -> Asked {
        Asked {
            breakpoints: self.breakpoints.iter().map(|(_, breakpoint)| breakpoint.clone()).collect(),
            watchpoints: self.watchpoints.iter().map(|(_, watchpoint)| *watchpoint).collect(),
            process: Some(process),
        }
    }

    /// As what the breakpoint at an address was set.
    pub(in crate::debug) fn kind(&self, address: u64) -> Option<Kind> {
        self.breakpoints.iter().find(|(_, it)| it.address == address).map(|(kind, _)| *kind)
    }

    /// For what memory at an address is watched.
    pub(in crate::debug) fn watch_kind(&self, address: u64) -> WatchKind {
        let found = self.watchpoints.iter().find(|(_, it)| it.address == address);
        found.map_or(WatchKind::Write, |(kind, _)| *kind)
    }

    /// Sets a breakpoint, under the conditions that gdb has told for it.
    pub(in crate::debug) fn add(&mut self, kind: Kind, address: u64) {
        let conditions = std::mem::take(&mut self.conditions);
        // gdb sets one again whose conditions have changed.
        self.breakpoints.retain(|it| (it.0, it.1.address) != (kind, address));
        self.breakpoints.push((kind, Breakpoint { address, conditions }));
    }

    /// Takes a breakpoint back. Returns whether it was set.
    pub(in crate::debug) fn remove(&mut self, kind: Kind, address: u64) -> bool {
        let count = self.breakpoints.len();
        self.breakpoints.retain(|it| (it.0, it.1.address) != (kind, address));
        self.breakpoints.len() < count
    }

    /// Watches memory.
    pub(in crate::debug) fn watch(&mut self, address: u64, len: u64, kind: WatchKind) {
        self.watchpoints.push((kind, watchpoint(address, len, kind)));
    }

    /// Watches it no longer. Returns whether it was watched.
    pub(in crate::debug) fn unwatch(&mut self, address: u64, len: u64, kind: WatchKind) -> bool {
        let it = (kind, watchpoint(address, len, kind));
        let at = self.watchpoints.iter().position(|set| *set == it);
        at.map(|at| self.watchpoints.remove(at)).is_some()
    }
}

fn watchpoint(address: u64, len: u64, kind: WatchKind) -> Watchpoint {
    let watch = if kind == WatchKind::Write { Watch::Change } else { Watch::Access };
    Watchpoint { address, len, watch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakpoint_that_is_set_again_has_its_new_conditions() {
        let mut set = Set::default();
        set.add(Kind::Software, 0x1000);
        set.conditions = vec![Expression::new(vec![0x22, 1, 0x27]).expect("an expression")];
        set.add(Kind::Software, 0x1000);
        set.add(Kind::Hardware, 0x2000);
        let asked = set.asked(TaskId(3));
        let conditions = asked.breakpoints.iter().map(|it| (it.address, it.conditions.len()));
        assert_eq!(conditions.collect::<Vec<_>>(), [(0x1000, 1), (0x2000, 0)]);
        assert_eq!((set.kind(0x2000), set.kind(0x3000)), (Some(Kind::Hardware), None));
        assert!(!set.remove(Kind::Hardware, 0x1000) && set.remove(Kind::Software, 0x1000));
    }
}

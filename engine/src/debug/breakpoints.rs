//! Breakpoints and watchpoints that gdb has set.

use gdbstub::target::TargetResult;
use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps,
    WatchKind,
};

use super::debugger::Debugger;
use crate::task::TaskId;
use crate::timeline::{Asked, Breakpoint, Expression, Watch, Watchpoint};

/// What is set.
#[derive(Debug, Default)]
pub(super) struct Set {
    breakpoints: Vec<(Kind, Breakpoint)>,
    watchpoints: Vec<(WatchKind, Watchpoint)>,
    /// The conditions of the breakpoint that is set next.
    pub(super) conditions: Vec<Expression>,
}

/// As what gdb has set a breakpoint: it is told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Software,
    Hardware,
}

/// Larger objects are not watched: each instruction would be compared by reading so many bytes.
const LARGEST: u64 = 1 << 16;

impl Set {
    /// What is to be stopped for in a process.
    pub(super) fn asked(&self, process: TaskId) -> Asked {
        Asked {
            breakpoints: self.breakpoints.iter().map(|(_, breakpoint)| breakpoint.clone()).collect(),
            watchpoints: self.watchpoints.iter().map(|(_, watchpoint)| *watchpoint).collect(),
            process: Some(process),
        }
    }

    /// As what the breakpoint at an address was set.
    pub(super) fn kind(&self, address: u64) -> Option<Kind> {
        self.breakpoints.iter().find(|(_, it)| it.address == address).map(|(kind, _)| *kind)
    }

    /// For what memory at an address is watched.
    pub(super) fn watch_kind(&self, address: u64) -> WatchKind {
        let found = self.watchpoints.iter().find(|(_, it)| it.address == address);
        found.map_or(WatchKind::Write, |(kind, _)| *kind)
    }

    fn add(&mut self, kind: Kind, address: u64) {
        let conditions = std::mem::take(&mut self.conditions);
        // gdb sets one again whose conditions have changed.
        self.breakpoints.retain(|it| (it.0, it.1.address) != (kind, address));
        self.breakpoints.push((kind, Breakpoint { address, conditions }));
    }

    fn remove(&mut self, kind: Kind, address: u64) -> bool {
        let count = self.breakpoints.len();
        self.breakpoints.retain(|it| (it.0, it.1.address) != (kind, address));
        self.breakpoints.len() < count
    }
}

fn watchpoint(address: u64, len: u64, kind: WatchKind) -> Watchpoint {
    let watch = if kind == WatchKind::Write { Watch::Change } else { Watch::Access };
    Watchpoint { address, len, watch }
}

impl Breakpoints for Debugger<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugger<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.set.add(Kind::Software, address);
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.set.remove(Kind::Software, address))
    }
}

impl HwBreakpoint for Debugger<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.set.add(Kind::Hardware, address);
        Ok(true)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.set.remove(Kind::Hardware, address))
    }
}

impl HwWatchpoint for Debugger<'_> {
    fn add_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        if len == 0 || len > LARGEST || address.checked_add(len).is_none() {
            return Ok(false);
        }
        self.set.watchpoints.push((kind, watchpoint(address, len, kind)));
        Ok(true)
    }

    fn remove_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        let it = (kind, watchpoint(address, len, kind));
        let at = self.set.watchpoints.iter().position(|set| *set == it);
        Ok(at.map(|at| self.set.watchpoints.remove(at)).is_some())
    }
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

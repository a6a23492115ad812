//! Deadlines of sleeping tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::task::TaskId;

/// The deadlines of sleeping tasks, in ns of a clock that the caller chooses. A task has at most one.
#[derive(Debug, Default)]
pub struct Deadlines {
    by_time: BTreeSet<(u64, TaskId)>,
    by_task: BTreeMap<TaskId, u64>,
}

impl Deadlines {
    /// Lets `task` sleep until `ns`, replacing its earlier deadline.
    pub fn insert(&mut self, task: TaskId, ns: u64) {
        self.remove(task);
        self.by_time.insert((ns, task));
        self.by_task.insert(task, ns);
    }

    /// Removes and returns the deadline of `task`.
    pub fn remove(&mut self, task: TaskId) -> Option<u64> {
        let ns = self.by_task.remove(&task)?;
        self.by_time.remove(&(ns, task));
        Some(ns)
    }

    /// Returns the deadline of `task`.
    #[must_use]
    pub fn of(&self, task: TaskId) -> Option<u64> {
        self.by_task.get(&task).copied()
    }

    /// Whether no task but `task` sleeps.
    #[must_use]
    pub fn only(&self, task: TaskId) -> bool {
        self.by_task.keys().all(|sleeper| *sleeper == task)
    }

    /// Whether `task` sleeps.
    #[must_use]
    pub fn contains(&self, task: TaskId) -> bool {
        self.by_task.contains_key(&task)
    }

    /// Returns the earliest deadline and its task.
    #[must_use]
    pub fn earliest(&self) -> Option<(u64, TaskId)> {
        self.by_time.first().copied()
    }

    /// Iterates over all deadlines, earliest first.
    pub fn all(&self) -> impl Iterator<Item = (u64, TaskId)> {
        self.by_time.iter().copied()
    }

    /// Removes the tasks whose deadline is `now` or earlier: earliest first, equal ones in order of task number.
    pub fn expired(&mut self, now: u64) -> Vec<TaskId> {
        let mut expired = Vec::new();
        while let Some((_, task)) = self.earliest().filter(|(ns, _)| *ns <= now) {
            self.remove(task);
            expired.push(task);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_expire_in_order_and_once() {
        let mut deadlines = Deadlines::default();
        for (task, ns) in [(3, 20), (1, 30), (2, 20), (4, 10)] {
            deadlines.insert(TaskId(task), ns);
        }
        assert_eq!(deadlines.earliest(), Some((10, TaskId(4))));
        assert_eq!(deadlines.all().map(|(_, task)| task.0).collect::<Vec<_>>(), [4, 2, 3, 1]);
        assert_eq!(deadlines.expired(9), []);
        assert_eq!(deadlines.expired(20), [4, 2, 3].map(TaskId));
        assert_eq!(deadlines.expired(20), []);
        assert_eq!(deadlines.earliest(), Some((30, TaskId(1))));
    }

    #[test]
    fn a_later_deadline_replaces_the_earlier() {
        let mut deadlines = Deadlines::default();
        deadlines.insert(TaskId(1), 10);
        deadlines.insert(TaskId(1), 50);
        assert_eq!(deadlines.expired(49), []);
        assert_eq!(deadlines.remove(TaskId(1)), Some(50));
        assert_eq!(deadlines.remove(TaskId(1)), None);
        assert_eq!(deadlines.earliest(), None);
    }
}

//! Per-task state of strategies.

use crate::task::TaskId;

/// A value for each task that has one. Decisions read the values of all runnable tasks, so access needs no search.
#[derive(Debug)]
pub(super) struct PerTask<T> {
    /// By task number.
    values: Vec<Option<T>>,
}

impl<T> Default for PerTask<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T> PerTask<T> {
    pub(super) fn insert(&mut self, task: TaskId, value: T) {
        let index = task.0 as usize;
        if index >= self.values.len() {
            self.values.resize_with(index + 1, || None);
        }
        self.values[index] = Some(value);
    }

    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some(value) = self.values.get_mut(task.0 as usize) {
            *value = None;
        }
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&T> {
        self.values.get(task.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, task: TaskId) -> Option<&mut T> {
        self.values.get_mut(task.0 as usize)?.as_mut()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }
}

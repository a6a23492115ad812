//! Where a path leads that is relative to a working directory or to an open one, as far as the events tell.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Protocol;
use crate::claims::plain;
use crate::task::TaskId;

/// A path is cut off here: the kernel takes none that is longer (PATH_MAX).
const LONGEST: usize = 4096;

/// So many descriptors of a process, processes, and tasks of others than the first, are kept apart at most.
const DESCRIPTORS: usize = 1024;
const PROCESSES: usize = 4096;
const TASKS: usize = 1 << 16;

/// In place of a directory that is not known.
const SOMEWHERE: &str = "…";

/// What a descriptor refers to.
#[derive(Clone, Debug)]
pub(super) enum Open {
    /// What stands at this path.
    Path(Rc<Path>),
    /// A socket.
    Socket(Protocol),
}

/// What tasks share that have not been parted by fork(2).
#[derive(Clone, Debug)]
struct Process {
    directory: Rc<Path>,
    descriptors: Rc<HashMap<i32, Open>>,
}

/// All processes of a recording.
#[derive(Debug)]
pub(super) struct Processes {
    all: Vec<Process>,
    /// Which of them a task belongs to; the first, if it is not here.
    of_task: HashMap<TaskId, usize>,
    /// Who runs.
    pub(super) running: TaskId,
}

impl Processes {
    pub(super) fn new(directory: &Path) -> Self {
        let first = Process { directory: directory.into(), descriptors: Rc::default() };
        Self { all: vec![first], of_task: HashMap::new(), running: TaskId(0) }
    }

    fn number(&self) -> usize {
        self.of_task.get(&self.running).copied().unwrap_or(0)
    }

    /// The running task has created another one, in the same process or in a copy of it.
    pub(super) fn spawn(&mut self, task: TaskId, shares: bool) {
        let parent = self.number();
        let process = if shares { parent } else { self.copy(parent) };
        self.belongs(task, process);
    }

    /// The running task has its process for itself from now on.
    pub(super) fn part(&mut self) {
        let (task, process) = (self.running, self.number());
        if self.of_task.values().filter(|other| **other == process).count() != 1 {
            let copy = self.copy(process);
            self.belongs(task, copy);
        }
    }

    fn belongs(&mut self, task: TaskId, process: usize) {
        if process == 0 || self.of_task.len() >= TASKS {
            self.of_task.remove(&task);
        } else {
            self.of_task.insert(task, process);
        }
    }

    fn copy(&mut self, process: usize) -> usize {
        if self.all.len() >= PROCESSES {
            return process;
        }
        self.all.push(self.all[process].clone());
        self.all.len() - 1
    }

    /// A descriptor of the running task refers to this from now on; `None` if that is not known.
    pub(super) fn set(&mut self, descriptor: i64, open: Option<Open>) {
        let number = self.number();
        let Ok(descriptor) = i32::try_from(descriptor) else { return };
        let descriptors = &mut self.all[number].descriptors;
        match open {
            None if !descriptors.contains_key(&descriptor) => {}
            None => drop(Rc::make_mut(descriptors).remove(&descriptor)),
            Some(open) if descriptors.len() < DESCRIPTORS || descriptors.contains_key(&descriptor) => {
                drop(Rc::make_mut(descriptors).insert(descriptor, open));
            }
            Some(_) => {}
        }
    }

    pub(super) fn get(&self, descriptor: i32) -> Option<&Open> {
        self.all[self.number()].descriptors.get(&descriptor)
    }

    /// The running task's process has another working directory.
    pub(super) fn enter(&mut self, directory: &Path) {
        let number = self.number();
        self.all[number].directory = directory.into();
    }

    /// Where a path leads the running task; `directory` is the descriptor of the directory at which it starts.
    pub(super) fn resolve(&self, directory: Option<i32>, path: &[u8]) -> Option<PathBuf> {
        let path = Path::new(OsStr::from_bytes(&path[..path.len().min(LONGEST)]));
        if path.as_os_str().is_empty() {
            return None;
        }
        let from = match directory.filter(|directory| *directory != libc::AT_FDCWD) {
            _ if path.is_absolute() => Path::new("/"),
            None => &self.all[self.number()].directory,
            Some(directory) => match self.get(directory) {
                Some(Open::Path(path)) => path,
                _ => Path::new(SOMEWHERE),
            },
        };
        let path = plain(&from.join(path));
        Some(if path.as_os_str().len() <= LONGEST {
            path
        } else {
            Path::new(SOMEWHERE).join(path.file_name()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(processes: &Processes, directory: i32, path: &str) -> PathBuf {
        processes.resolve(Some(directory), path.as_bytes()).unwrap()
    }

    #[test]
    fn a_relative_path_starts_at_a_directory() {
        let mut processes = Processes::new(Path::new("/home"));
        processes.set(3, Some(Open::Path(Path::new("/etc").into())));
        assert_eq!(at(&processes, libc::AT_FDCWD, "../a"), Path::new("/a"));
        assert_eq!(at(&processes, 3, "hosts"), Path::new("/etc/hosts"));
        assert_eq!(at(&processes, 4, "hosts"), Path::new("…/hosts"));
        assert_eq!(at(&processes, 4, "/b"), Path::new("/b"));
        assert_eq!(processes.resolve(None, b""), None);
        let long = at(&processes, libc::AT_FDCWD, &"/../..//./x".repeat(1000));
        assert!(long.as_os_str().len() <= LONGEST);
    }

    #[test]
    fn processes_have_directories_and_descriptors_of_their_own() {
        let mut processes = Processes::new(Path::new("/one"));
        processes.set(3, Some(Open::Path(Path::new("/three").into())));
        processes.spawn(TaskId(1), true);
        processes.spawn(TaskId(2), false);
        processes.running = TaskId(2);
        processes.enter(Path::new("/two"));
        processes.set(3, None);
        assert_eq!(at(&processes, libc::AT_FDCWD, "x"), Path::new("/two/x"));
        assert_eq!(at(&processes, 3, "x"), Path::new("…/x"));
        for task in [0, 1] {
            processes.running = TaskId(task);
            assert_eq!(at(&processes, libc::AT_FDCWD, "x"), Path::new("/one/x"));
            assert_eq!(at(&processes, 3, "x"), Path::new("/three/x"));
        }
        processes.part();
        processes.enter(Path::new("/four"));
        processes.running = TaskId(0);
        assert_eq!(at(&processes, libc::AT_FDCWD, "x"), Path::new("/one/x"));
    }

    #[test]
    fn no_number_of_processes_and_descriptors_is_too_large() {
        let mut processes = Processes::new(Path::new("/"));
        for n in 0..10_000 {
            processes.spawn(TaskId(n), false);
            processes.running = TaskId(n);
            processes.part();
            processes.set(n.into(), Some(Open::Socket(Protocol::Tcp)));
        }
        assert!(processes.all.len() <= PROCESSES);
        assert!(processes.all.iter().all(|process| process.descriptors.len() <= DESCRIPTORS));
    }
}

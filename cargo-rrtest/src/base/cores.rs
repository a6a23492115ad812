//! The cores that attempts and replays can run on.

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu};
use nix::unistd::Pid;

use super::exit::{CliError, Status};

/// The cores that we may use, beginning with the one that we are on: if it is not all of them that we use, it should not
/// be the same that all others use.
pub(crate) fn cores() -> Result<Vec<usize>, CliError> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|error| {
        CliError::new(Status::Recorder, format!("cannot read the CPU affinity mask: {error}"))
    })?;
    let mut cores: Vec<_> = (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect();
    let here = sched_getcpu().ok().and_then(|here| cores.iter().position(|core| *core == here));
    cores.rotate_left(here.unwrap_or(0));
    Ok(cores)
}

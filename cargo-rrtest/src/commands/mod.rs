mod beside;
pub(crate) mod cli;
pub(crate) mod doctor;
pub(crate) mod exec;
mod given;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod show;

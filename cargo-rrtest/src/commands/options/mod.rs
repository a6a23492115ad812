//! The options of `run`, which are the settings of a project as well: [`run`] has them, [`values`] what they take, and [`configured`] adds
//! to a command line what is set elsewhere. [`traces`] has the options of the commands on kept traces.

pub(crate) mod configured;
pub(crate) mod event_range;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod traces;
pub(crate) mod values;

//! The options of `run`, which are the settings of a project as well: [`run`] has them, [`values`] what they take, and [`configured`] adds
//! to a command line what is set elsewhere.

pub(crate) mod configured;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod values;

//! What users need not type: settings from files ([`file`]), by profile ([`profiles`]), and from the environment. [`layers`] makes options of
//! them, where the command line does not say otherwise; [`overrides`] holds what is said of single tests; [`show`] says where everything
//! comes from.
//!
//! A setting is named and written as the option of `run` that it stands for, so that there is one list of both, and one check.
//!
//! This room stands on [`build`](crate::build), which knows cargo, on [`discover`](crate::discover), which has filter expressions, and on
//! [`base`](crate::base).

pub(crate) mod file;
pub(crate) mod layers;
pub(crate) mod overrides;
pub(crate) mod profiles;
pub(crate) mod show;
#[cfg(test)]
mod tests;

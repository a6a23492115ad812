//! What a failure needs, found out by experiments right after it, on the machine where it happened.
//!
//! A [`case`] is a failure with all that it takes to make its attempt again; [`bench`] runs schedules of it for the engine
//! to find the smallest one; [`work`] asks the questions, [`again`] asks whether the program still fails, [`places`] puts operations into source lines, [`mapping`] finds a schedule in the program as it is now, [`race`] tells a data race from other races, and [`trace`] keeps
//! the recording of the smallest schedule. What comes of it is an
//! [`Explanation`](crate::ending::explanation::Explanation).
//!
//! This room stands on [`attempt`](crate::attempt), [`ending`](crate::ending), [`store`](crate::store) and
//! [`base`](crate::base).

pub(crate) mod again;
mod bench;
pub(crate) mod case;
pub(crate) mod mapping;
mod places;
mod race;
mod trace;
mod work;

pub(crate) use work::{Answer, explain};

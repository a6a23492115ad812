//! A failure for those who cannot replay it: as a page ([`page`]), and its whole schedule as a file for trace viewers
//! ([`chrome`]).
//!
//! A [`Subject`](subject::Subject) is what a trace and some replays of it tell. [`stretches`] chooses the part of the run whose
//! operations are looked at, [`objects`] finds what threads share in it, and [`lanes`] lays out who did what in which order:
//! all pure. [`overview`] and [`graph`] draw; [`page`] writes the HTML, with `style.css` and `script.js` in it.
//!
//! Everything in a trace is somebody else's: what is shown of it goes through [`text`].
//!
//! This room stands on [`ending`](crate::ending) and [`base`](crate::base).

pub(crate) mod chrome;
mod graph;
mod lanes;
mod objects;
mod overview;
pub(crate) mod page;
mod sources;
mod stretches;
pub(crate) mod subject;
#[cfg(test)]
mod testing;
mod text;

pub(crate) mod find;
pub(crate) mod libtest;
mod listing;
pub(crate) mod runner;
pub(crate) mod test;

pub(crate) mod cores;
pub(crate) mod exit;
pub(crate) mod group;
pub(crate) mod hash;
pub(crate) mod interrupt;
pub(crate) mod terminal;
pub(crate) mod words;

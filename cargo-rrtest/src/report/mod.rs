pub(crate) mod display;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod progress;
mod summary;

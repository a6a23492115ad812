pub(crate) mod engine;
pub(crate) mod events;
mod judge;
pub(crate) mod needy;
pub(crate) mod order;
pub(crate) mod record;
pub(crate) mod seed;
pub(crate) mod start;
pub(crate) mod templates;

mod c_code;
pub(crate) mod cargo;
pub(crate) mod config;
pub(crate) mod instrument;
pub(crate) mod selection;
pub(crate) mod toolchain;
pub(crate) mod wrapper;

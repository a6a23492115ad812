//! `cargo rrtest`: `cargo test` with a recorder.
fn main() {}

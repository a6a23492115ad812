//! Tasks that hand the core over among themselves, without a stop: what the recorder tells them, and how it follows.

mod prepare;
mod stops;

//! Who runs next. Pure: it knows no process, so that every rule here can be tested alone.

pub mod strategy;

pub use strategy::{Choice, Operation, Plan, Point, Strategy, StrategyName, Why};

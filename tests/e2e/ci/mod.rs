//! rrtest in the CI of a project: what GitHub is told, the action, what people do with what it uploads, and how the tool gets there.

mod action;
mod artifacts;
mod expression;
mod github;
mod published;

use crate::Tests;

pub(crate) fn add(tests: &mut Tests) {
    tests.topic("github", github::TESTS);
    tests.topic("action", action::TESTS);
    tests.topic("artifacts", artifacts::TESTS);
    tests.topic("documents", published::TESTS);
}

pub(crate) fn add_slow(tests: &mut Tests) {
    published::add_slow(tests);
}

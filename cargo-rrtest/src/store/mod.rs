pub(crate) mod traces;

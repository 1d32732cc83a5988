//! The cases, by what they are about. The doc line of each is the rule.

pub mod ending;
pub mod lifecycle;
pub mod reporting;
pub mod running;

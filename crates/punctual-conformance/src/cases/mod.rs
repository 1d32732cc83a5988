//! The cases, by what they are about. The doc line of each is the rule that it checks.

pub mod adding;
pub mod attempts;
pub mod changing;
pub mod claims;
pub mod lasting;
pub mod leases;
pub mod ledger;
pub mod moving;
pub mod ordering;
pub mod pausing;
pub mod policies;
pub mod races;
pub mod random;
pub mod records;
pub mod scale;

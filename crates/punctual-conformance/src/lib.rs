//! One suite of tests that every Punctual job store runs.

//! A job scheduler that can be trusted: APScheduler's model in Rust.

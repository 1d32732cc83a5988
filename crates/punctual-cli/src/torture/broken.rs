//! Self-checks.

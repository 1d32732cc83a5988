//! Jobs, decisions, job stores, executors and the scheduler of Punctual.

//! What keys are called.
//!
//! | key | what it holds |
//! |---|---|
//! | `state` | hash: under each id its version, its place in the lists, its live runs and its state ([`crate::state`]) |
//! | `definitions` | hash: under each id its definition |
//! | `ids` | sorted set: ids by their bytes |
//! | `listed` | sorted set: ids by next run, as 16 digits before the id |
//! | `due:<executor>\n<task>` | sorted set: ids by `wake_at` in microseconds |
//! | `runs` | hash: rows of the ledger by their ids, 16 bytes |
//! | `occurrences` | hash: what no two rows share, and the row that has it |
//! | `of_job` | sorted set: ids of jobs, a zero byte, ids of their rows |
//! | `runs:<state>` | sorted set: ids of rows by their bytes, but of running ones |
//! | `ended:<state>` | sorted set: ids of rows that are over, by when they ended |
//! | `leases` | sorted set: ids of running rows by the ends of their leases |
//! | `fence_floor` | the highest token of any job that is gone |
//! | `record:<namespace>`, `log:<log>` | hash and list |
//! | `schema` | the version of all this |

/// What all keys of a store begin with: the prefix as hash tag, so that they share a slot.
pub(crate) fn base(prefix: &str) -> String {
    // An empty tag is none; no prefix has a dash.
    let tag = if prefix.is_empty() { "-" } else { prefix };
    format!("{{{tag}}}:")
}

/// The channel on which stores tell each other of changes. Channels know no databases, keys do.
pub(crate) fn channel(base: &str, database: i64) -> String {
    format!("{base}changed:{database}")
}

/// The jobs of one task on one executor. No name holds a control character.
pub(crate) fn class(executor: &str, task: &str) -> String {
    format!("{executor}\n{task}")
}

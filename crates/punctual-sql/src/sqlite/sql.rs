//! Every statement of the store, in one place. `@` stands for the prefix of the tables.

/// The columns of a job's state, in the order in which `rows::job_head` reads them.
macro_rules! head {
    () => {
        "n, id, key, cursor, due_at, extra, manual_at, paused, phase, revision, seq, fence, wake_at, live"
    };
}

/// The columns of a run, in the order in which `rows::run` reads them.
macro_rules! run {
    () => {
        "id, job_id, job_key, kind, scheduled_at, due_at, attempt, crashes, instance, state, reason, node, fence, \
         lease_until, started_at, finished_at, output, error, cancel_requested, scheduled_until, count, superseded_at"
    };
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        /// The statements, with the prefix filled in.
        #[derive(Debug)]
        pub(super) struct Statements { $($(#[$doc])* pub(super) $name: String),* }

        impl Statements {
            pub(super) fn new(prefix: &str) -> Self {
                Self { $($name: $text.replace('@', prefix)),* }
            }

            /// All of them, by name.
            #[cfg(test)]
            pub(super) fn all(&self) -> Vec<(&'static str, &str)> {
                vec![$((stringify!($name), self.$name.as_str())),*]
            }
        }
    };
}

statements! {
    job_by_id: concat!("SELECT ", head!(), " FROM @jobs WHERE id = ?1");
    job_text: "SELECT definition FROM @jobs WHERE n = ?1";
    job_insert: "INSERT INTO @jobs (id, task, executor, name, tags, definition, key, cursor, due_at, extra, manual_at,
        paused, phase, revision, seq, fence, wake_at, live, listed_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    job_definition_update: "UPDATE @jobs SET task = ?2, executor = ?3, name = ?4, tags = ?5, definition = ?6 WHERE n = ?1";
    job_state_update: "UPDATE @jobs SET key = ?2, cursor = ?3, due_at = ?4, extra = ?5, manual_at = ?6, paused = ?7,
        phase = ?8, revision = ?9, seq = ?10, fence = ?11, wake_at = ?12, live = ?13, listed_at = ?14 WHERE n = ?1";
    /// Where nothing changes that an index holds: `SQLite` would write the entries anew, the same or not.
    job_counters_update: "UPDATE @jobs SET seq = ?2, fence = ?3, live = ?4, manual_at = ?5 WHERE n = ?1";
    job_delete: "DELETE FROM @jobs WHERE n = ?1";
    jobs_delete: "DELETE FROM @jobs";
    /// An unreadable job stands last in a list.
    job_list_last: "UPDATE @jobs SET listed_at = 9223372036854775807 WHERE n = ?1 AND listed_at < 9223372036854775807";
    /// A job that could not be read while its run ended is looked at once it can.
    job_wake: "UPDATE @jobs SET wake_at = ?2 WHERE n = ?1 AND paused IS NULL AND (wake_at IS NULL OR wake_at > ?2)";
    fence_max: "SELECT MAX(fence) FROM @jobs";

    due_in_class: concat!("SELECT ", head!(), " FROM @jobs WHERE task = ?1 AND executor = ?2 AND wake_at <= ?3
        AND (wake_at, id) > (?4, ?5) ORDER BY wake_at, id LIMIT ?6");
    first_in_class: "SELECT wake_at, id, key, revision FROM @jobs WHERE task = ?1 AND executor = ?2 AND wake_at IS NOT NULL
        ORDER BY wake_at, id";

    list_by_next_run: concat!("SELECT ", head!(), ", definition, task, name, tags, listed_at FROM @jobs
        WHERE (listed_at, id) > (?1, ?2) ORDER BY listed_at, id LIMIT ?3");
    list_by_id: concat!("SELECT ", head!(), ", definition, task, name, tags, listed_at FROM @jobs
        WHERE ?1 IS NOT NULL AND id > ?2 ORDER BY id LIMIT ?3");
    job_with_text: concat!("SELECT ", head!(), ", definition FROM @jobs WHERE id = ?1");

    run_by_id: concat!("SELECT ", run!(), " FROM @runs WHERE id = ?1");
    runs_live: concat!("SELECT ", run!(), " FROM @runs INDEXED BY @runs_live WHERE job_id = ?1 AND state IN ('pending', 'running') ORDER BY id");
    runs_running_of: concat!("SELECT ", run!(), " FROM @runs WHERE state = 'running' AND node = ?1 ORDER BY id");
    runs_expired: concat!("SELECT ", run!(), " FROM @runs WHERE state = 'running' AND node = ?1 AND lease_until <= ?2
        ORDER BY lease_until, id");
    /// The next owner after `?1`.
    owner_after: "SELECT node FROM @runs WHERE state = 'running' AND node > ?1 ORDER BY node LIMIT 1";
    runs_pending_of_jobs: concat!("SELECT ", run!(), " FROM @runs WHERE state IN ('pending', 'running')
        AND state = 'pending' AND job_id IN (SELECT id FROM @jobs)");
    run_insert: concat!("INSERT INTO @runs (", run!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
        ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22) ON CONFLICT DO NOTHING");
    run_delete: "DELETE FROM @runs WHERE id = ?1";
    run_update: "UPDATE @runs SET state = ?2, reason = ?3, node = ?4, fence = ?5, lease_until = ?6, started_at = ?7,
        finished_at = ?8, output = ?9, error = ?10, cancel_requested = ?11, superseded_at = ?12 WHERE id = ?1";
    run_supersede: "UPDATE @runs SET superseded_at = ?2 WHERE id = ?1";
    run_renew: "UPDATE @runs SET lease_until = ?3 WHERE id = ?1 AND state = 'running' AND fence = ?2
        RETURNING cancel_requested";
    count_live: "SELECT state, COUNT(*) FROM @runs WHERE state IN ('pending', 'running') GROUP BY state";
    count_over: "SELECT state, COUNT(*) FROM @runs WHERE finished_at >= ?1 GROUP BY state";

    prune_old: "DELETE FROM @runs WHERE n IN (SELECT n FROM @runs WHERE finished_at <= ?1 ORDER BY finished_at LIMIT ?2)";
    jobs_with_rows: "SELECT job_id, COUNT(*) FROM @runs WHERE job_id > ?1 GROUP BY job_id ORDER BY job_id LIMIT ?2";
    prune_of_job: "DELETE FROM @runs WHERE n IN (SELECT n FROM (SELECT n FROM @runs WHERE job_id = ?1
        AND finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT -1 OFFSET ?2) LIMIT ?3)";

    record: "SELECT value, version FROM @records WHERE namespace = ?1 AND key = ?2";
    records: "SELECT key, value, version FROM @records WHERE namespace = ?1 ORDER BY key";
    record_put: "INSERT INTO @records (namespace, key, value, version) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, version = excluded.version";
    record_delete: "DELETE FROM @records WHERE namespace = ?1 AND key = ?2";
    log_last: "SELECT MAX(position) FROM @log WHERE log = ?1";
    log_append: "INSERT INTO @log (log, position, at, value) VALUES (?1, ?2, ?3, ?4)";
    log_read: "SELECT position, at, value FROM @log WHERE log = ?1 AND position > ?2 ORDER BY position LIMIT ?3";

    fence_floor: "SELECT value FROM @meta WHERE key = 'fence_floor'";
    fence_floor_raise: "INSERT INTO @meta (key, value) VALUES ('fence_floor', ?1)
        ON CONFLICT (key) DO UPDATE SET value = MAX(value, excluded.value)";
}

/// The statement behind a [`RunQuery`](punctual_core::store::RunQuery): its text depends on what is asked, so that each
/// question finds its index. `?1` is the job, `?2` the row before which the page begins, `?3` and `?4` the span of nominal
/// times, `?5` the limit.
pub(super) fn runs_page(
    prefix: &str,
    of_job: bool,
    state: Option<punctual_core::run::RunState>,
    from: bool,
    until: bool,
) -> String {
    use punctual_core::run::RunState;
    // Left to itself SQLite goes by id, which for a rare state means through the whole ledger.
    let index = match state {
        _ if of_job => " INDEXED BY @runs_job",
        Some(RunState::Pending | RunState::Running) => " INDEXED BY @runs_live",
        None | Some(RunState::Succeeded) => "",
        Some(_) => " INDEXED BY @runs_state",
    };
    let mut text = concat!("SELECT ", run!(), " FROM @runs").to_owned() + index + " WHERE id < ?2";
    if of_job {
        text.push_str(" AND job_id = ?1");
    }
    if let Some(state) = state {
        // Words, not parameters: only then can a partial index be chosen.
        if !state.is_final() && !of_job {
            text.push_str(" AND state IN ('pending', 'running')");
        }
        text.push_str(" AND state = '");
        text.push_str(state.as_str());
        text.push('\'');
        if state.is_final() && state != RunState::Succeeded && !of_job {
            text.push_str(" AND state NOT IN ('pending', 'running', 'succeeded')");
        }
    }
    if from {
        text.push_str(" AND scheduled_at >= ?3");
    }
    if until {
        text.push_str(" AND scheduled_at < ?4");
    }
    text.push_str(" ORDER BY id DESC LIMIT ?5");
    text.replace('@', prefix)
}

//! Job JSON and Run JSON, as the API answers them: for programs that answer them from handlers of their own.

use std::collections::BTreeSet;

use punctual_core::run::Run;
use punctual_core::scheduler::{Located, NodeRecord, Scheduler};
use punctual_core::store::NODES_NAMESPACE;
use serde::Deserialize;
use serde_json::Value;

use crate::wire::job::{self, Surroundings};
use crate::wire::run as wire;

/// The tasks that some live node has; where the stores cannot be asked, those of this one.
async fn live_tasks(scheduler: &Scheduler) -> BTreeSet<String> {
    let own = scheduler.registry().names();
    let mut tasks: BTreeSet<String> = own.iter().map(|name| name.as_str().to_owned()).collect();
    for (_, store) in scheduler.jobstores() {
        let (Ok(records), Ok(now)) = (store.records(NODES_NAMESPACE).await, store.now().await)
        else {
            continue;
        };
        let nodes = records
            .iter()
            .filter_map(|record| NodeRecord::deserialize(&record.value).ok())
            .filter(|node| node.is_live(now));
        tasks.extend(nodes.flat_map(|node| node.tasks));
    }
    tasks
}

/// The JSON of jobs of a scheduler, in their order. Asks its stores which tasks the live nodes have.
pub async fn jobs(scheduler: &Scheduler, jobs: &[Located]) -> Vec<Value> {
    let tasks = live_tasks(scheduler).await;
    jobs.iter()
        .map(|located| {
            let around = Surroundings {
                job_store: &located.job_store,
                tasks: &tasks,
                zones: scheduler.zones(),
            };
            job::stored(&located.job, &around)
        })
        .collect()
}

/// The JSON of a row of the ledger.
pub fn run(run: &Run) -> Value {
    wire::run(run)
}

//! A release of the time zone data may move what is due: when it changes, due times are computed anew.

use serde_json::json;

use super::shared::{Attached, Shared};
use crate::job::StoredJob;
use crate::plan::JobChange;
use crate::store::{Expect, JobOrder, JobQuery, SCHEDULER_NAMESPACE, StoreResult};

const ZONE_DATA_KEY: &str = "zone_data";
const PAGE_JOBS: usize = 500;

/// Compares the release in use with the one the store knows, and where they differ recomputes every job's due time
/// from its cursor.
pub(super) async fn refresh(shared: &Shared, attached: &Attached) -> StoreResult<()> {
    let store = &attached.store;
    let version = json!({ "version": shared.zones.version() });
    let known = shared
        .deadline(store.record(SCHEDULER_NAMESPACE, ZONE_DATA_KEY))
        .await?;
    if known.as_ref().is_some_and(|record| record.value == version) {
        return Ok(());
    }
    if known.is_some() {
        let mut query = JobQuery {
            order: JobOrder::Id,
            limit: PAGE_JOBS,
            ..JobQuery::default()
        };
        loop {
            let page = shared.deadline(store.list(&query)).await?;
            for job in page.items.into_iter().filter_map(StoredJob::into_job) {
                // A trigger whose zone the new data lacks keeps its due time; it is refused when it is next read.
                if let Ok(schedule) = job.definition.trigger.compile(shared.zones.db()) {
                    shared
                        .deadline(store.update(job.id(), None, JobChange::Recompute(schedule)))
                        .await?;
                }
            }
            let Some(cursor) = page.next_cursor else {
                break;
            };
            query.cursor = Some(cursor);
        }
        tracing::info!(
            version = shared.zones.version(),
            "the time zone data changed; due times were computed anew"
        );
    }
    shared
        .deadline(store.put_record(
            SCHEDULER_NAMESPACE,
            ZONE_DATA_KEY,
            Some(version),
            Expect::Any,
        ))
        .await?;
    Ok(())
}

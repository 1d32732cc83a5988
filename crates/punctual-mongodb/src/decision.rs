//! A decision as a document: everything that holds of one id from this position on.

use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use punctual_backend::{After, Body, Damaged, Listed, Snapshot, Version, Write, codec, listed_at};
use punctual_core::clock::{Clock as _, SystemClock};
use punctual_core::id::{Fence, JobId};
use punctual_core::job::{JobState, Paused};
use punctual_core::run::{Run, RunState};
use serde_json::Value;

/// What goes when a decision is superseded: all that a query looks for, and all that only the head is asked for. The rows
/// that are still to be written stay.
const OF_THE_HEAD: [&str; 16] = [
    "head",
    "wake_at",
    "task",
    "executor",
    "listed_at",
    "tags",
    "paused",
    "state",
    "document",
    "gone_at",
    "fence",
    "live",
    "live_ids",
    "owners",
    "lease_until",
    "name",
];

/// What belongs to one decision only, when the next one takes over the rest.
const OF_ONE: [&str; 8] = [
    "_id",
    "v",
    "live",
    "live_ids",
    "owners",
    "lease_until",
    "ended",
    "unwritten",
];

/// The position of a version among the decisions of its id, from 1.
pub(crate) fn position(version: Version) -> u64 {
    version.0 >> 32
}

/// The version of the decision that would follow: the next position, and a number by which its writer knows it again.
pub(crate) fn following(version: Option<Version>) -> Version {
    let next = version.map_or(0, position) + 1;
    Version(next << 32 | u64::from(fastrand::u32(..)))
}

/// The `_id` of a decision. A document with it can be inserted once: that is what everything rests on.
pub(crate) fn id_of(job: &JobId, version: Version) -> String {
    format!("{job}:{}", position(version))
}

/// The update that takes a superseded decision out of every index.
pub(crate) fn superseding(is_first: bool) -> Document {
    let unset: Document = OF_THE_HEAD
        .iter()
        .map(|field| ((*field).to_owned(), Bson::from("")))
        .collect();
    if is_first {
        // The first decision of an id is kept as long as the id is known, so it is not among those that wait to go.
        doc! {"$unset": unset}
    } else {
        doc! {"$unset": unset, "$set": {"over": true}}
    }
}

/// A decision as read.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) job: JobId,
    pub(crate) version: Version,
    pub(crate) document: Document,
}

impl Decision {
    /// `None` for a document that is none of ours.
    pub(crate) fn read(document: Document) -> Option<Self> {
        let job = document.get_str("job").ok()?;
        let Ok(job) = JobId::new(job) else {
            tracing::error!(id = ?job, "a stored decision has no valid job id");
            return None;
        };
        let version = Version(document.get_i64("v").ok()? as u64);
        Some(Self {
            job,
            version,
            document,
        })
    }

    pub(crate) fn id(&self) -> String {
        id_of(&self.job, self.version)
    }

    fn micros(&self, field: &str) -> Option<i64> {
        self.document.get_i64(field).ok()
    }

    /// When a claim has something to do.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        self.micros("wake_at")
            .map(|micros| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MIN))
    }

    /// What the list by next run is ordered by.
    pub(crate) fn listed_at(&self) -> i64 {
        self.micros("listed_at").unwrap_or(i64::MAX)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.document.contains_key("gone_at")
    }

    pub(crate) fn fence(&self) -> Fence {
        Fence(self.micros("fence").unwrap_or(0) as u64)
    }

    /// What it was made from.
    pub(crate) fn before(&self) -> Option<Version> {
        self.micros("before").map(|before| Version(before as u64))
    }

    fn texts(&self, field: &str) -> Vec<&str> {
        let texts = self.document.get_array(field).ok();
        texts
            .into_iter()
            .flatten()
            .filter_map(Bson::as_str)
            .collect()
    }

    /// The pending and running runs.
    pub(crate) fn live(&self) -> Result<Vec<Run>, String> {
        self.texts("live")
            .into_iter()
            .map(codec::read_run)
            .collect()
    }

    /// The live runs that can be read; another is logged.
    pub(crate) fn readable(&self) -> Vec<Run> {
        let read = |text| {
            codec::read_run(text)
                .inspect_err(|error| {
                    tracing::warn!(job = %self.job, %error, "a live run cannot be read");
                })
                .ok()
        };
        self.texts("live").into_iter().filter_map(read).collect()
    }

    /// The rows that ended with this decision and are still to be written, as text.
    pub(crate) fn ended(&self) -> Vec<&str> {
        self.texts("ended")
    }

    fn text(&self, field: &str) -> &str {
        self.document.get_str(field).unwrap_or_default()
    }

    fn body(&self) -> Body {
        if self.is_nothing() {
            return Body::Nothing {
                fence: self.fence(),
            };
        }
        match codec::read_state(self.text("state")) {
            Ok(state) => Body::Job {
                state: JobState {
                    // Whoever could not read the job may have moved it forward.
                    wake_at: self.wake_at(),
                    ..state
                },
                document: self.text("document").into(),
            },
            Err(error) => Body::Damaged(self.damaged(error)),
        }
    }

    fn damaged(&self, error: String) -> Damaged {
        let state: Value = serde_json::from_str(self.text("state")).unwrap_or_default();
        let paused = state.get("paused").cloned();
        Damaged {
            error,
            stored: format!("{} {}", self.text("state"), self.text("document")),
            revision: state["revision"].as_u64().unwrap_or(0),
            fence: Fence(state["fence"].as_u64().unwrap_or(0)),
            paused: paused.and_then(|paused| serde_json::from_value::<Paused>(paused).ok()),
            wake_at: self.wake_at().unwrap_or_else(|| SystemClock.now()),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            id: self.job.clone(),
            version: Some(self.version),
            body: self.body(),
            live: self.live(),
        }
    }

    pub(crate) fn listed(&self) -> Option<Listed> {
        (!self.is_nothing()).then(|| Listed {
            id: self.job.clone(),
            at: self.listed_at(),
            body: self.body(),
        })
    }

    /// The next decision, with the same job and no live runs yet.
    fn carried(&self) -> Self {
        let version = following(Some(self.version));
        let mut document = self.document.clone();
        for field in OF_ONE {
            document.remove(field);
        }
        let mut next = Self {
            job: self.job.clone(),
            version,
            document,
        };
        next.document.insert("_id", next.id());
        next.document.insert("v", version.0 as i64);
        next.document.insert("before", self.version.0 as i64);
        next
    }

    /// The next decision, in which nothing changes but these live runs. Those that cannot be read stay as they are.
    pub(crate) fn with_changed(&self, changed: &[Run]) -> Self {
        let mut next = self.carried();
        let mut all = self.readable();
        for run in &mut all {
            if let Some(changed) = changed.iter().find(|changed| changed.id == run.id) {
                run.clone_from(changed);
            }
        }
        put_live(&mut next.document, &all);
        let texts: Vec<String> = self
            .texts("live")
            .into_iter()
            .map(|text| {
                let id = codec::read_run(text).ok().map(|run| run.id);
                let run = changed.iter().find(|run| Some(run.id) == id);
                run.map_or_else(|| text.to_owned(), codec::write_run)
            })
            .collect();
        next.document.insert("live", texts);
        for field in ["live_ids", "owners"] {
            if let Some(same) = self.document.get(field) {
                next.document.insert(field, same.clone());
            }
        }
        next
    }

    /// What a write makes of this, its predecessor.
    pub(crate) fn follow(before: Option<&Self>, write: &Write, now: Timestamp) -> Option<Self> {
        let mut next = match &write.after {
            After::Unread { wake_at } => unread(before?, &write.live, *wake_at),
            After::Nothing { fence } => {
                let mut next = Self::fresh(write);
                next.document.insert("gone_at", now.as_microsecond());
                next.document.insert("fence", fence.0 as i64);
                put_live(&mut next.document, &write.live);
                next
            }
            After::Job {
                state,
                definition,
                document,
                ..
            } => {
                let mut next = Self::fresh(write);
                let fields = &mut next.document;
                if let Some(wake_at) = state.wake_at {
                    fields.insert("wake_at", wake_at.as_microsecond());
                }
                fields.insert("task", definition.task.as_str());
                fields.insert("executor", definition.executor.as_str());
                fields.insert("listed_at", listed_at(state));
                if !definition.tags.is_empty() {
                    let tags: Vec<&str> = definition.tags.iter().map(AsRef::as_ref).collect();
                    fields.insert("tags", tags);
                }
                if state.paused.is_some() {
                    fields.insert("paused", true);
                }
                fields.insert("state", codec::write_state(state));
                fields.insert("document", document.as_ref());
                put_live(fields, &write.live);
                next
            }
        };
        let ended: Vec<String> = write
            .insert
            .iter()
            .chain(&write.update)
            .filter(|run| run.state().is_final())
            .map(codec::write_run)
            .collect();
        if !ended.is_empty() {
            next.document.insert("ended", ended);
            next.document.insert("unwritten", true);
        }
        Some(next)
    }

    fn fresh(write: &Write) -> Self {
        let version = following(write.expected);
        let mut document = doc! {
            "_id": id_of(&write.id, version),
            "job": write.id.as_str(),
            "v": version.0 as i64,
            "head": true,
        };
        if let Some(before) = write.expected {
            document.insert("before", before.0 as i64);
        }
        Self {
            job: write.id.clone(),
            version,
            document,
        }
    }
}

fn unread(before: &Decision, live: &[Run], wake_at: Timestamp) -> Decision {
    let mut next = before.carried();
    put_live(&mut next.document, live);
    let is_paused = next.document.contains_key("paused");
    let wake_at = wake_at.as_microsecond();
    if !is_paused && before.micros("wake_at").is_none_or(|at| at > wake_at) {
        next.document.insert("wake_at", wake_at);
    }
    next
}

fn put_live(document: &mut Document, live: &[Run]) {
    if live.is_empty() {
        return;
    }
    let texts = |of: &dyn Fn(&Run) -> String| live.iter().map(of).collect::<Vec<String>>();
    document.insert("live", texts(&codec::write_run));
    document.insert("live_ids", texts(&|run| run.id.to_string()));
    let running = || live.iter().filter(|run| run.state() == RunState::Running);
    let mut owners: Vec<String> = running()
        .filter_map(|run| run.node)
        .map(|node| node.to_string())
        .collect();
    owners.sort_unstable();
    owners.dedup();
    if !owners.is_empty() {
        document.insert("owners", owners);
    }
    // A run without a lease can be taken at any time.
    let lease = running()
        .map(|run| run.lease_until.map_or(i64::MIN, Timestamp::as_microsecond))
        .min();
    if let Some(lease) = lease {
        document.insert("lease_until", lease);
    }
}

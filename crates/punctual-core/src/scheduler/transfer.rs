//! Taking jobs out as JSON and putting them in, and showing them as text.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::error::Error;
use super::shared::Shared;
use super::{DEFAULT_ALIAS, Scheduler};
use crate::closure::{CLOSURE_TASK, RESERVED};
use crate::document;
use crate::id::JobId;
use crate::job::{Job, StoredJob};
use crate::plan::{AddRefusal, Addition, FirstRun, OnConflict, PauseRequest};
use crate::store::{JobOrder, JobQuery};

/// The version of the export format.
const EXPORT_VERSION: u64 = 1;

impl Scheduler {
    /// All jobs of one store, or of all, as data: `{"version": 1, "jobs": [{"id": …, …}]}`. The ledger is not in it, and
    /// neither are jobs of closures. A job that cannot be read is left out and named under `unreadable`.
    pub async fn export_jobs(&self, job_store: Option<&str>) -> Result<Value, Error> {
        let mut jobs = Vec::new();
        let mut unreadable = Vec::new();
        let stores = match job_store {
            Some(alias) => vec![self.0.store(alias)?],
            None => self.0.stores(),
        };
        let query = JobQuery {
            order: JobOrder::Id,
            ..JobQuery::default()
        };
        for attached in stores {
            for stored in self.0.deadline(attached.store.list(&query)).await?.items {
                match stored {
                    StoredJob::Job(job) if job.definition.task.as_str() == CLOSURE_TASK => {}
                    StoredJob::Job(job) => jobs.push(export(&job)),
                    StoredJob::Unreadable(job) => {
                        unreadable.push(json!({ "id": job.id, "error": job.error }));
                    }
                }
            }
        }
        let mut export = json!({ "version": EXPORT_VERSION, "jobs": jobs });
        if !unreadable.is_empty() {
            export["unreadable"] = Value::Array(unreadable);
        }
        Ok(export)
    }

    /// Puts exported jobs into a store, all of them or, where one does not fit, none. A paused job stays paused;
    /// what was due between export and import is not made up for. Returns how many were added.
    ///
    /// # Errors
    ///
    /// The path of what does not fit, or [`Error::Exists`] with `OnConflict::Error`.
    pub async fn import_jobs(
        &self,
        export: &Value,
        job_store: Option<&str>,
        on_conflict: OnConflict,
    ) -> Result<usize, Error> {
        let attached = self.0.store(job_store.unwrap_or(DEFAULT_ALIAS))?;
        if export["version"] != EXPORT_VERSION {
            let message = format!(
                "is {}; this program reads {EXPORT_VERSION}",
                export["version"]
            );
            return Err(Error::invalid("version", message));
        }
        let jobs = export["jobs"]
            .as_array()
            .ok_or_else(|| Error::invalid("jobs", "is no list"))?;
        let additions = jobs
            .iter()
            .enumerate()
            .map(|(at, job)| import(&self.0, at, job, on_conflict));
        let additions = additions.collect::<Result<Vec<_>, _>>()?;
        if on_conflict == OnConflict::Error {
            for addition in &additions {
                let id = &addition.definition.id;
                if self.0.deadline(attached.store.get(id)).await?.is_some() {
                    return Err(Error::Exists { id: id.clone() });
                }
            }
        }
        let ids: Vec<JobId> = additions
            .iter()
            .map(|addition| addition.definition.id.clone())
            .collect();
        let mut added = 0;
        for (answer, id) in self
            .0
            .deadline(attached.store.add_many(additions))
            .await?
            .into_iter()
            .zip(ids)
        {
            match answer {
                Ok(_) => {
                    self.0.emit(crate::event::EventKind::JobAdded, |event| {
                        event.alias(&attached.alias).job(&id)
                    });
                    added += 1;
                }
                Err(AddRefusal::Exists) => return Err(Error::Exists { id }),
                // Its last fire has passed since it was exported: nothing is left to import.
                Err(AddRefusal::NeverRuns) => {
                    tracing::warn!(job = %id, "not imported: its trigger has ended");
                }
            }
        }
        Ok(added)
    }

    /// Writes the jobs as text, store by store, each with its trigger and next run.
    pub async fn print_jobs(&self, out: &mut (dyn Write + Send)) -> Result<(), Error> {
        let text = self.jobs_text().await?;
        out.write_all(text.as_bytes()).map_err(|error: io::Error| {
            Error::Store(crate::store::StoreError::failed(format!(
                "could not write the list of jobs: {error}"
            )))
        })
    }

    async fn jobs_text(&self) -> Result<String, Error> {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut put = |line: String| writeln!(text, "{line}").expect("a String takes any text");
        for (alias, store) in self.jobstores() {
            put(format!("Jobstore {alias}:"));
            let jobs = self
                .0
                .deadline(store.list(&JobQuery::default()))
                .await?
                .items;
            if jobs.is_empty() {
                put("    No scheduled jobs".to_owned());
            }
            for stored in jobs {
                put(match stored {
                    StoredJob::Unreadable(job) => {
                        format!("    {} (cannot be read: {})", job.id, job.error)
                    }
                    StoredJob::Job(job) => {
                        let next = match job.next_run_time() {
                            Some(at) => {
                                let zoned = job.definition.schedule.0.zoned(at);
                                format!("next run at: {}", zoned.strftime("%Y-%m-%d %H:%M:%S %Z"))
                            }
                            None if job.state.paused.is_some() => "paused".to_owned(),
                            None => "running for the last time".to_owned(),
                        };
                        format!(
                            "    {} (trigger: {}, {next})",
                            job.definition.name(),
                            job.definition.trigger
                        )
                    }
                });
            }
        }
        Ok(text)
    }
}

fn export(job: &Job) -> Value {
    let mut document = Map::new();
    document.insert("id".to_owned(), json!(job.id()));
    if let Value::Object(fields) = document::write(&job.definition) {
        document.extend(fields);
    }
    if let Some(paused) = &job.state.paused {
        document.insert("paused".to_owned(), json!(paused));
    }
    Value::Object(document)
}

fn import(
    shared: &Shared,
    at: usize,
    job: &Value,
    on_conflict: OnConflict,
) -> Result<Addition, Error> {
    let id = job["id"]
        .as_str()
        .ok_or_else(|| Error::invalid(format!("jobs[{at}].id"), "is no text"))?;
    let id = JobId::new(id)
        .map_err(|error| Error::invalid(format!("jobs[{at}].id"), error.to_string()))?;
    let definition = document::read(&id, job, &shared.zones)
        .map_err(|reason| Error::invalid(format!("jobs[{at}]"), format!("job {id}: {reason}")))?;
    if definition.task.as_str().starts_with(RESERVED) {
        let message = format!("{:?} is reserved", definition.task);
        return Err(Error::invalid(format!("jobs[{at}].task"), message));
    }
    let first_run = match job.get("paused") {
        None | Some(Value::Null) => FirstRun::ByTrigger,
        Some(paused) => {
            let text = |key: &str| paused[key].as_str().map(str::to_owned);
            let until = text("until").and_then(|until| until.parse().ok());
            FirstRun::Paused(PauseRequest {
                by: text("by"),
                note: text("note"),
                until,
            })
        }
    };
    Ok(Addition {
        definition,
        first_run,
        on_conflict,
    })
}

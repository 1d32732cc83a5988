//! The threads that own the connections. Everything else sends them requests and awaits the answers.
//!
//! The writer takes all requests that wait into one transaction and answers them after its commit, so that the price
//! of reaching the disk is shared. One that fails leaves no trace, and the others go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use event_listener::Event;
use futures_channel::oneshot;
use punctual_core::store::{BoxFuture, StoreError, StoreResult};
use rusqlite::Connection;

use super::error::{Failure, Result};

/// The most requests in one transaction of the writer.
pub(super) const BATCH_MAX: usize = 256;
/// How many requests may wait; further callers wait to be let in.
pub(super) const QUEUE_MAX: usize = 1024;

/// What a thread works with between requests.
pub(super) trait Owner: Send + 'static {
    /// The most requests in one transaction.
    const BATCH: usize;
    /// The connection.
    fn db(&self) -> &Connection;
    /// A point in a transaction to go back to; 0 is its beginning.
    fn mark(&self) -> usize;
    /// What was done since then is undone.
    fn undone(&mut self, mark: usize);
    /// It was committed.
    fn committed(&mut self);
}

/// One request, its type forgotten.
trait Request<O>: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    fn perform(self: Box<Self>, owner: &mut O, errors: &Errors) -> Performed;
    fn refuse(self: Box<Self>, error: StoreError);
}

/// A request that was performed, or failed.
struct Performed {
    is_ok: bool,
    answer: Box<dyn FnOnce(StoreResult<()>)>,
}

struct Call<T, F> {
    work: F,
    answer: oneshot::Sender<StoreResult<T>>,
}

impl<O, T, F> Request<O> for Call<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut O) -> Result<T> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_canceled()
    }

    fn perform(self: Box<Self>, owner: &mut O, errors: &Errors) -> Performed {
        let Self { work, answer } = *self;
        let result = catch_unwind(AssertUnwindSafe(|| work(owner)))
            .unwrap_or_else(|_| {
                Err(Failure::Store(StoreError::failed(
                    "a fault in Punctual stopped this request, and nothing of it was kept; please report it",
                )))
            })
            .map_err(|failure| errors.describe(failure));
        Performed {
            is_ok: result.is_ok(),
            // Who does not wait any more does not mind.
            answer: Box::new(move |commit| {
                let _ = answer.send(commit.and(result));
            }),
        }
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        let _ = self.answer.send(Err(error));
    }
}

/// Turns failures into errors that name the file.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    pub(super) path: PathBuf,
    pub(super) busy_timeout: Duration,
}

impl Errors {
    pub(super) fn describe(&self, failure: Failure) -> StoreError {
        failure.describe(&self.path, self.busy_timeout)
    }
}

/// The way to a thread. When the last one is gone, the thread finishes what waits and ends.
pub(super) struct Queue<O> {
    requests: Sender<Box<dyn Request<O>>>,
    path: Arc<std::path::Path>,
}

impl<O> std::fmt::Debug for Queue<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<O: Owner> Queue<O> {
    pub(super) fn new(path: &std::path::Path) -> (Self, Inbox<O>) {
        let (requests, inbox) = async_channel::bounded(QUEUE_MAX);
        let queue = Self {
            requests,
            path: path.into(),
        };
        (queue, Inbox(inbox))
    }

    /// Has `work` done by the thread. Dropped before the thread takes it up, nothing is done; later, all of it.
    pub(super) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut O) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'_, StoreResult<T>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let stopped = || {
                StoreError::failed(format!(
                    "{}: the thread of this store has ended",
                    self.path.display()
                ))
            };
            let request: Box<dyn Request<O>> = Box::new(Call { work, answer });
            self.requests.send(request).await.map_err(|_| stopped())?;
            answered.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    pub(super) fn close(&self) {
        self.requests.close();
    }
}

/// The other end of a [`Queue`].
pub(super) struct Inbox<O>(Receiver<Box<dyn Request<O>>>);

impl<O: Owner> Inbox<O> {
    /// Performs requests until the queue is closed: `begin` says how a transaction begins.
    pub(super) fn serve(self, mut owner: O, begin: &'static str, errors: &Errors) {
        while let Ok(first) = self.0.recv_blocking() {
            let mut answers = Vec::new();
            let outcome = self.transact(first, &mut owner, begin, errors, &mut answers);
            match &outcome {
                Ok(()) => owner.committed(),
                Err(_) => owner.undone(0),
            }
            for answer in answers {
                answer(outcome.clone());
            }
        }
    }

    fn transact(
        &self,
        first: Box<dyn Request<O>>,
        owner: &mut O,
        begin: &str,
        errors: &Errors,
        answers: &mut Vec<Box<dyn FnOnce(StoreResult<()>)>>,
    ) -> StoreResult<()> {
        let describe = |error: rusqlite::Error| errors.describe(error.into());
        if let Err(error) = execute(owner.db(), begin) {
            let error = describe(error);
            first.refuse(error.clone());
            return Err(error);
        }
        let mut result = Ok(());
        let mut next = Some(first);
        let mut is_clean = true;
        while let Some(request) = next {
            if !request.is_abandoned() {
                let performed = if is_clean {
                    as_first(request, owner, begin, errors)
                } else {
                    in_savepoint(request, owner, errors)
                };
                match performed {
                    Ok(performed) => {
                        is_clean &= !performed.is_ok;
                        answers.push(performed.answer);
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            next = (answers.len() < O::BATCH)
                .then(|| self.0.try_recv().ok())
                .flatten();
        }
        if result.is_ok() && owner.db().is_autocommit() {
            // On some errors SQLite gives up the transaction by itself.
            result = Err(StoreError::unavailable(format!(
                "{}: the transaction was rolled back",
                errors.path.display()
            )));
        }
        let result = result.and_then(|()| execute(owner.db(), "COMMIT").map_err(describe));
        if result.is_err() && !owner.db().is_autocommit() {
            let _ = execute(owner.db(), "ROLLBACK");
        }
        result
    }
}

/// Performs the first request that does something in its transaction: where it fails, the transaction begins anew. A
/// savepoint would keep a copy of every page that a large claim changes.
fn as_first<O: Owner>(
    request: Box<dyn Request<O>>,
    owner: &mut O,
    begin: &str,
    errors: &Errors,
) -> StoreResult<Performed> {
    let performed = request.perform(owner, errors);
    if !performed.is_ok {
        owner.undone(0);
        let restart = || {
            if !owner.db().is_autocommit() {
                execute(owner.db(), "ROLLBACK")?;
            }
            execute(owner.db(), begin)
        };
        if let Err(error) = restart() {
            (performed.answer)(Ok(()));
            return Err(errors.describe(error.into()));
        }
    }
    Ok(performed)
}

/// Performs a further request; the error is that of the whole transaction.
fn in_savepoint<O: Owner>(
    request: Box<dyn Request<O>>,
    owner: &mut O,
    errors: &Errors,
) -> StoreResult<Performed> {
    let describe = |error: rusqlite::Error| errors.describe(error.into());
    if let Err(error) = execute(owner.db(), "SAVEPOINT request") {
        let error = describe(error);
        request.refuse(error.clone());
        return Err(error);
    }
    let mark = owner.mark();
    let performed = request.perform(owner, errors);
    if !performed.is_ok {
        owner.undone(mark);
        // Fails where `SQLite` has given up the whole transaction by itself.
        if let Err(error) = execute(owner.db(), "ROLLBACK TO request") {
            (performed.answer)(Ok(()));
            return Err(describe(error));
        }
    }
    if let Err(error) = execute(owner.db(), "RELEASE request") {
        let error = describe(error);
        (performed.answer)(Err(error.clone()));
        return Err(error);
    }
    Ok(performed)
}

fn execute(db: &Connection, statement: &str) -> rusqlite::Result<()> {
    db.prepare_cached(statement)?.execute(())?;
    Ok(())
}

/// Wakes whoever awaits a change.
#[derive(Debug, Default, Clone)]
pub(super) struct Changed(Arc<Event>);

impl Changed {
    pub(super) fn notify(&self) {
        self.0.notify(usize::MAX);
    }

    pub(super) fn listen(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.0.listen())
    }
}

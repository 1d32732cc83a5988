//! Connections: a few, kept open, each used by one at a time.
//!
//! A connection goes back when whoever used it is done. One that was given up in the middle of a statement is closed, for
//! nobody knows what it would answer next; one that was given up within a transaction is rolled back first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual_core::clock::{Clock, SystemClock};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::cell::Answer;
use super::dialect::{Dialect, Trouble};
use super::statement::Statement;

/// The connections to one database.
#[derive(Debug)]
pub(crate) struct Links<D: Dialect>(Arc<Home<D>>);

#[derive(Debug)]
struct Home<D: Dialect> {
    dialect: D,
    idle: Mutex<Vec<Idle<D>>>,
    permits: Arc<Semaphore>,
    /// Half of them, for questions that may take long: claims and renewals never wait for all of those.
    long: Semaphore,
    /// Rollbacks that are underway; each ends with its sender.
    rollbacks: Mutex<Vec<watch::Receiver<()>>>,
    timeout: Duration,
    runtime: Handle,
}

struct Idle<D: Dialect> {
    connection: D::Connection,
    /// On the monotonic clock.
    since: Duration,
}

impl<D: Dialect> std::fmt::Debug for Idle<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect> Home<D> {
    fn with_idle<T>(&self, f: impl FnOnce(&mut Vec<Idle<D>>) -> T) -> T {
        f(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_idle(&self) -> Option<D::Connection> {
        let now = SystemClock.monotonic();
        self.with_idle(|idle| {
            idle.retain(|idle| now.saturating_sub(idle.since) < D::IDLE_MAX);
            idle.pop().map(|idle| idle.connection)
        })
    }

    fn with_rollbacks<T>(&self, f: impl FnOnce(&mut Vec<watch::Receiver<()>>) -> T) -> T {
        f(&mut self
            .rollbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the rollbacks that are underway now. Each has its own bound.
    async fn settle(&self) {
        let underway = self.with_rollbacks(|rollbacks| {
            rollbacks.retain(|rollback| rollback.has_changed().is_ok());
            rollbacks.clone()
        });
        for mut rollback in underway {
            // An error is the end of it.
            let _ = rollback.changed().await;
        }
    }

    fn give_back(&self, connection: D::Connection) {
        if self.permits.is_closed() {
            return;
        }
        let since = SystemClock.monotonic();
        self.with_idle(|idle| idle.push(Idle { connection, since }));
    }
}

impl<D: Dialect> Links<D> {
    pub(crate) fn new(dialect: D, connections: u32, timeout: Duration) -> Self {
        Self(Arc::new(Home {
            dialect,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(connections as usize)),
            long: Semaphore::new((connections as usize / 2).max(1)),
            rollbacks: Mutex::default(),
            timeout,
            runtime: Handle::current(),
        }))
    }

    pub(crate) fn dialect(&self) -> &D {
        &self.0.dialect
    }

    /// Waits for a connection.
    pub(crate) async fn link(&self) -> Result<Link<D>, Trouble> {
        self.link_that(true).await
    }

    async fn link_that(&self, may_be_idle: bool) -> Result<Link<D>, Trouble> {
        let home = &self.0;
        // What an earlier call held, and was not to keep, a later one is not to find locked.
        home.settle().await;
        let late = |what: &str| {
            let address = home.dialect.address();
            Trouble::Unavailable(format!("{address}: {what} within {:?}", home.timeout))
        };
        let permit = timeout(home.timeout, Arc::clone(&home.permits).acquire_owned())
            .await
            .map_err(|_| late("no connection became free"))?
            .map_err(|_| Trouble::Failed("the store is closed".to_owned()))?;
        let idle = may_be_idle.then(|| home.take_idle()).flatten();
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => timeout(home.timeout, home.dialect.connect())
                .await
                .map_err(|_| late("no connection"))??,
        };
        Ok(Link {
            connection: Some(connection),
            home: Arc::clone(home),
            was_idle,
            is_busy: false,
            in_transaction: false,
            permit: Some(permit),
        })
    }

    /// Sends what changes nothing, or begins something, over any connection: where that has died unused, over a new one.
    pub(crate) async fn first(
        &self,
        statement: Statement,
        in_transaction: bool,
    ) -> Result<(Link<D>, Answer), Trouble> {
        let mut link = self.link().await?;
        link.in_transaction = in_transaction;
        match link.run(statement.clone()).await {
            Ok(answer) => Ok((link, answer)),
            Err(Trouble::Lost(_)) if link.was_idle => {
                drop(link);
                let mut link = self.link_that(false).await?;
                link.in_transaction = in_transaction;
                let answer = link.run(statement).await?;
                Ok((link, answer))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks a question.
    pub(crate) async fn ask(&self, statement: Statement) -> Result<Answer, Trouble> {
        self.first(statement, false).await.map(|(_, answer)| answer)
    }

    /// Asks a question whose answer may take long: there are never so many that nothing is left for what is urgent.
    pub(crate) async fn ask_long(&self, statement: Statement) -> Result<Answer, Trouble> {
        let turn = self.0.long.acquire().await;
        let _turn = turn.map_err(|_| Trouble::Failed("the store is closed".to_owned()))?;
        self.ask(statement).await
    }

    /// Sends one statement that changes something, and is a transaction by itself.
    pub(crate) async fn execute(&self, statement: Statement) -> Result<Answer, Trouble> {
        self.link().await?.run(statement).await
    }

    /// Closes the connections that are not in use; those in use are closed as they come back.
    pub(crate) async fn close(&self) {
        self.0.permits.close();
        let idle = self.0.with_idle(std::mem::take);
        for idle in idle {
            D::disconnect(idle.connection).await;
        }
    }
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Link<D: Dialect> {
    connection: Option<D::Connection>,
    home: Arc<Home<D>>,
    was_idle: bool,
    is_busy: bool,
    /// A transaction may be open.
    in_transaction: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl<D: Dialect> Link<D> {
    pub(crate) async fn run(&mut self, statement: Statement) -> Result<Answer, Trouble> {
        let Some(connection) = &mut self.connection else {
            return Err(Trouble::Lost("the connection was lost before".to_owned()));
        };
        self.is_busy = true;
        let Ok(done) = timeout(self.home.timeout, D::run(connection, statement)).await else {
            let address = self.home.dialect.address();
            let message = format!("{address}: no answer within {:?}", self.home.timeout);
            self.connection = None;
            return Err(Trouble::Unavailable(message));
        };
        self.is_busy = false;
        if let Err(Trouble::Lost(_)) = done {
            self.connection = None;
            // What happened to it happened to all of them, most likely.
            self.home.with_idle(Vec::clear);
        }
        done.map_err(|trouble| trouble.at(&self.home.dialect.address()))
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self) -> Result<(), Trouble> {
        self.in_transaction = true;
        self.run(Statement::script(D::BEGIN)).await.map(drop)
    }

    /// Ends the transaction.
    pub(crate) async fn commit(&mut self) -> Result<(), Trouble> {
        self.run(Statement::script("COMMIT")).await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl<D: Dialect> Drop for Link<D> {
    fn drop(&mut self) {
        if self.is_busy {
            // No answer came in time. Where the way to the server is broken, the others lie dead, too, and each would cost
            // its own wait.
            self.home.with_idle(Vec::clear);
        }
        let Some(connection) = self.connection.take().filter(|_| !self.is_busy) else {
            return;
        };
        let permit = self.permit.take();
        let home = Arc::clone(&self.home);
        if !self.in_transaction {
            home.give_back(connection);
            return;
        }
        let (underway, rollback) = watch::channel(());
        home.with_rollbacks(|rollbacks| rollbacks.push(rollback));
        let runtime = home.runtime.clone();
        runtime.spawn(async move {
            let mut connection = connection;
            let rollback = D::run(&mut connection, Statement::script("ROLLBACK"));
            if let Ok(Ok(_)) = timeout(home.timeout, rollback).await {
                home.give_back(connection);
            }
            drop(permit);
            drop(underway);
        });
    }
}

//! Hearing what other nodes announce: one connection that listens, and comes back when it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual_backend::Changed;
use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::dialect::Postgres;
use crate::server::SqlBackend;
use crate::server::dialect::Dialect as _;

/// The first and the longest wait before the next try to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long nothing may be heard before the connection is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long a word of its own may take to come back.
const ECHO_MAX: Duration = Duration::from_secs(5);

/// The backend, with a task beside it that notifies `changed`.
pub(super) fn listening(
    backend: SqlBackend<Postgres>,
    changed: Changed,
    patience: Duration,
) -> SqlBackend<Postgres> {
    let dialect = backend.links().dialect();
    let ear = Ear {
        options: dialect.options().clone(),
        address: dialect.address(),
        channel: dialect.channel().to_owned(),
        sender: dialect.sender().to_owned(),
        changed,
        patience,
    };
    let task = Arc::new(Mutex::new(Some(tokio::spawn(ear.listen()))));
    backend.ending(Box::new(move || {
        let task = Arc::clone(&task);
        Box::pin(async move {
            let listening: Option<JoinHandle<()>> =
                task.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(listening) = listening {
                listening.abort();
                // It ends where it waits.
                let _ = listening.await;
            }
        })
    }))
}

struct Ear {
    options: sqlx::postgres::PgConnectOptions,
    address: String,
    channel: String,
    sender: String,
    changed: Changed,
    patience: Duration,
}

impl Ear {
    async fn listen(self) {
        let mut wait = RETRY.0;
        loop {
            let mut was_heard = false;
            let why = match timeout(self.patience, self.connect()).await {
                Ok(Ok(listener)) => {
                    // Whatever was said in between went unheard.
                    self.changed.notify();
                    self.hear(listener, &mut was_heard).await
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {:?}", self.patience),
            };
            if was_heard {
                wait = RETRY.0;
            }
            tracing::warn!(
                store = %self.address, %why,
                "announcements of other nodes go unheard for now; polling stands in"
            );
            sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    async fn connect(&self) -> Result<PgListener, sqlx::Error> {
        // The driver's listener takes its connection from a pool; this one has no other use.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(self.patience)
            .connect_with(self.options.clone())
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        listener.eager_reconnect(false);
        listener.listen(&self.channel).await?;
        Ok(listener)
    }

    /// Returns why the connection is of no use any more.
    async fn hear(&self, mut listener: PgListener, was_heard: &mut bool) -> String {
        if let Err(error) = self.speak(&mut listener).await {
            return error.to_string();
        }
        let mut patience = ECHO_MAX;
        loop {
            match timeout(patience, listener.try_recv()).await {
                Ok(Ok(Some(heard))) => {
                    *was_heard = true;
                    patience = SILENCE_MAX;
                    // This process has told itself already.
                    if heard.payload() != self.sender {
                        self.changed.notify();
                    }
                }
                Ok(Ok(None)) => return "the connection was closed".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) if !*was_heard => {
                    return format!(
                        "the server does not send back what it is told on channel {}: a pooler in transaction mode may be \
                         in between, so connect to the server itself",
                        self.channel
                    );
                }
                Err(_) => {
                    // A firewall may have forgotten a connection on which nothing was said.
                    match timeout(self.patience, listener.execute("SELECT 1")).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return error.to_string(),
                        Err(_) => return "no answer".to_owned(),
                    }
                }
            }
        }
    }

    /// Says a word that only this process understands, and that is to come back.
    async fn speak(&self, listener: &mut PgListener) -> Result<(), sqlx::Error> {
        let word = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&self.channel)
            .bind(&self.sender);
        match timeout(self.patience, listener.execute(word)).await {
            Ok(said) => said.map(drop),
            Err(_) => Err(sqlx::Error::Protocol("no answer".to_owned())),
        }
    }
}

//! Connections: some lanes, each opened when all before it are busy, and opened anew after it broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use punctual_backend::BackendResult;
use redis::aio::MultiplexedConnection;
use redis::{
    Arg, AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value,
};
use tokio::sync::Mutex;

use crate::address::Address;
use crate::error::backend_error;
use crate::script::Script;

/// What happens to a request whose connection broke before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Sent again, once, over a new connection: to do it twice comes to the same.
    Once,
    /// Nobody knows whether it was done.
    Never,
}

/// All connections but the one that listens.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) address: Arc<Address>,
    /// What all keys begin with.
    pub(crate) base: String,
    timeout: Duration,
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    open: Mutex<Option<Open>>,
    busy: AtomicUsize,
}

/// A connection, and which of its lane it is.
#[derive(Clone)]
struct Open(MultiplexedConnection, usize);

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.1)
    }
}

/// A place on a lane, for the time of one request.
struct Ticket<'a> {
    lane: &'a Lane,
    /// The request was sent and not answered yet.
    is_waiting: bool,
}

impl Drop for Ticket<'_> {
    /// Whoever gave up waiting does not let the next wait at the same place: a server that does not answer may be gone.
    fn drop(&mut self) {
        self.lane.busy.fetch_sub(1, Ordering::Relaxed);
        if self.is_waiting
            && let Ok(mut open) = self.lane.open.try_lock()
        {
            *open = None;
        }
    }
}

enum Request<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Request<'_> {
    async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::Many(pipeline) => pipeline.query_async(connection).await,
        }
    }
}

impl Connections {
    pub(crate) fn new(address: Arc<Address>, base: String, count: u32, timeout: Duration) -> Self {
        let lanes = (0..count.max(1)).map(|_| Lane::default()).collect();
        Self {
            address,
            base,
            timeout,
            lanes,
        }
    }

    /// A script without arguments yet.
    pub(crate) fn call(&self, script: &Script) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        // One key is declared, by which the slot is found. The others begin alike.
        command
            .arg(&script.digest)
            .arg(1)
            .arg(format!("{}state", self.base))
            .arg(&self.base);
        command
    }

    /// Runs a script; the server that does not know it is told.
    pub(crate) async fn run(
        &self,
        script: &Script,
        command: Cmd,
        repeat: Repeat,
    ) -> BackendResult<Value> {
        match self.send(Request::One(&command), repeat).await {
            // Then nothing was done.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut whole = redis::cmd("EVAL");
                whole.arg(script.text);
                for arg in command.args_iter().skip(2) {
                    if let Arg::Simple(arg) = arg {
                        whole.arg(arg);
                    }
                }
                self.send(Request::One(&whole), repeat).await
            }
            other => other,
        }
        .map_err(|error| backend_error(&error))
    }

    /// One command.
    pub(crate) async fn command(&self, command: &Cmd, repeat: Repeat) -> BackendResult<Value> {
        let answer = self.send(Request::One(command), repeat).await;
        answer.map_err(|error| backend_error(&error))
    }

    /// A command without arguments that only reads.
    pub(crate) async fn ask(&self, name: &str) -> BackendResult<Value> {
        self.command(&redis::cmd(name), Repeat::Once).await
    }

    /// Several commands that only read, with one answer each.
    pub(crate) async fn read(&self, pipeline: &Pipeline) -> BackendResult<Vec<Value>> {
        let answer = self.send(Request::Many(pipeline), Repeat::Once).await;
        match answer.map_err(|error| backend_error(&error))? {
            Value::Array(answers) => Ok(answers),
            other => Ok(vec![other]),
        }
    }

    async fn send(&self, request: Request<'_>, repeat: Repeat) -> Result<Value, RedisError> {
        match self.try_send(&request).await {
            Err(error) if repeat == Repeat::Once && error.is_connection_dropped() => {
                self.try_send(&request).await
            }
            other => other,
        }
    }

    /// The first lane that is free, or the one with the shortest queue.
    fn lane(&self) -> Ticket<'_> {
        let lane = self
            .lanes
            .iter()
            .min_by_key(|lane| lane.busy.load(Ordering::Relaxed))
            .expect("there is at least one lane");
        lane.busy.fetch_add(1, Ordering::Relaxed);
        Ticket {
            lane,
            is_waiting: false,
        }
    }

    async fn try_send(&self, request: &Request<'_>) -> Result<Value, RedisError> {
        let mut ticket = self.lane();
        let Open(mut connection, number) = self.open(ticket.lane).await?;
        ticket.is_waiting = true;
        let answer = request.send(&mut connection).await;
        ticket.is_waiting = false;
        if let Err(error) = &answer
            && is_of_no_use_after(error)
        {
            let mut open = ticket.lane.open.lock().await;
            if let Some(Open(_, current)) = *open
                && current == number
            {
                *open = None;
            }
        }
        answer
    }

    async fn open(&self, lane: &Lane) -> Result<Open, RedisError> {
        let mut open = lane.open.lock().await;
        if let Some(open) = open.as_ref() {
            return Ok(open.clone());
        }
        let connection = self.connect().await?;
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let made = Open(connection, OPENED.fetch_add(1, Ordering::Relaxed));
        *open = Some(made.clone());
        Ok(made)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let client = self.address.client();
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Closes all of them.
    pub(crate) async fn close(&self) {
        for lane in &self.lanes {
            *lane.open.lock().await = None;
        }
    }
}

/// A connection that broke, one whose server does not answer, one that leads to a replica.
fn is_of_no_use_after(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

//! What a program and its worker processes tell each other, over the socket that is a worker's stdin.
//!
//! A frame is a kind (one byte), a length (four bytes, the highest first) and so many bytes: a message in JSON, or output
//! as it is. Moments are microseconds by the monotonic clock of the machine, which is one for both sides: a frame that lay
//! about while the program was frozen says nothing wrong.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Clock, SystemClock};
use crate::document;
use crate::id::{Fence, JobId, JobKey, NodeId, RunId};
use crate::job::JobDefinition;
use crate::lease::Lease;
use crate::run::{NewRun, Reason, Run, RunKind, RunState};
use crate::task::{RunContext, TaskEnd};
use crate::zones::Zones;

/// Tells a program that it is a worker: it holds the number of the socket that is the worker's stdin (see [`inode`]). What a
/// worker's tasks start inherits the variable, but has another stdin, so it is no worker.
pub(super) const VARIABLE: &str = "PUNCTUAL_WORKER";
/// The most bytes of one frame. A job's arguments have to fit; output is cut to [`OUTPUT_BYTES`].
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most bytes of output in one frame.
const OUTPUT_BYTES: usize = 64 * 1024;
/// The most bytes of one look at the socket.
const READ_BYTES: usize = 64 * 1024;
/// Both sides are of one release, or do not talk.
pub(super) const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// From the program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// Work on this run. Only to a worker that has none.
    Run(Box<Order>),
    /// The run should wind up.
    Cancel,
    /// The run's lease ends then.
    Lease(Option<u64>),
}

/// A run with all that its task may ask for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    run: RunRow,
    definition: Value,
    /// When the lease ends; `None` where it holds for ever.
    pub(super) lease: Option<u64>,
}

/// From a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It is a worker, of this release. The first thing it says, before it makes its tasks.
    Hello { release: String },
    /// It has its tasks, and waits for runs.
    Ready,
    /// It has none; why.
    NoTasks(String),
    /// The task is called now: from here on the run counts as an attempt, whatever becomes of the worker.
    Started,
    /// The run has ended.
    Done(End),
}

/// The wire form of a [`TaskEnd`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Succeeded,
    Failed(String),
    TimedOut(String),
    LeaseEnded(String),
}

impl From<TaskEnd> for End {
    fn from(end: TaskEnd) -> Self {
        match end {
            TaskEnd::Succeeded => Self::Succeeded,
            TaskEnd::Failed(text) => Self::Failed(text),
            TaskEnd::TimedOut(text) => Self::TimedOut(text),
            TaskEnd::LeaseEnded(text) => Self::LeaseEnded(text),
        }
    }
}

impl From<End> for TaskEnd {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded => Self::Succeeded,
            End::Failed(text) => Self::Failed(text),
            End::TimedOut(text) => Self::TimedOut(text),
            End::LeaseEnded(text) => Self::LeaseEnded(text),
        }
    }
}

impl Order {
    /// The order to work on a run whose lease ends at `lease`.
    pub(super) fn new(context: &RunContext, lease: Option<u64>) -> Self {
        Self {
            run: RunRow::from(context.run()),
            definition: document::write(context.job()),
            lease,
        }
    }

    /// The run and its job; the error is for people.
    pub(super) fn read(&self, zones: &Zones) -> Result<(Run, JobDefinition), String> {
        let definition = document::read(&self.run.job_id, &self.definition, zones)?;
        Ok((self.run.to_run()?, definition))
    }
}

/// A row of the ledger that is not over.
#[derive(Debug, Serialize, Deserialize)]
struct RunRow {
    id: String,
    job_id: JobId,
    job_key: u64,
    kind: RunKind,
    scheduled_at: Timestamp,
    due_at: Timestamp,
    attempt: u32,
    crashes: u32,
    instance: u64,
    state: RunState,
    reason: Option<Reason>,
    node: Option<u64>,
    fence: u64,
    lease_until: Option<Timestamp>,
    started_at: Option<Timestamp>,
    cancel_requested: bool,
    scheduled_until: Option<Timestamp>,
    count: u64,
}

impl From<&Run> for RunRow {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.to_string(),
            job_id: run.job_id.clone(),
            job_key: run.job_key.0,
            kind: run.kind,
            scheduled_at: run.scheduled_at,
            due_at: run.due_at,
            attempt: run.attempt,
            crashes: run.crashes,
            instance: run.instance,
            state: run.state(),
            reason: run.reason,
            node: run.node.map(|node| node.0),
            fence: run.fence.0,
            lease_until: run.lease_until,
            started_at: run.started_at,
            cancel_requested: run.cancel_requested,
            scheduled_until: run.scheduled_until,
            count: run.count,
        }
    }
}

impl RunRow {
    fn to_run(&self) -> Result<Run, String> {
        let id: RunId = self.id.parse().map_err(|_| "the run has no id")?;
        let mut run = Run::pending(NewRun {
            id,
            job_id: self.job_id.clone(),
            job_key: JobKey(self.job_key),
            kind: self.kind,
            scheduled_at: self.scheduled_at,
            due_at: self.due_at,
            instance: self.instance,
        });
        run.attempt = self.attempt;
        run.crashes = self.crashes;
        run.reason = self.reason;
        run.node = self.node.map(NodeId);
        run.fence = Fence(self.fence);
        run.lease_until = self.lease_until;
        run.started_at = self.started_at;
        run.cancel_requested = self.cancel_requested;
        run.scheduled_until = self.scheduled_until;
        run.count = self.count;
        Ok(run.with_stored_state(self.state))
    }
}

/// The end of a lease by the clock of the machine, whichever clock the scheduler has; `None` where it holds for ever.
pub(super) fn lease_end(lease: &Lease) -> Option<u64> {
    // In this order: where this process is frozen between the two, the end is told too early, not too late.
    let now = SystemClock.monotonic();
    let end = now + lease.remaining()?;
    Some(end.as_micros() as u64)
}

/// What tells one socket from all others, on this machine and at this time.
pub(super) fn inode(socket: impl AsFd) -> io::Result<u64> {
    let copy: OwnedFd = socket.as_fd().try_clone_to_owned()?;
    Ok(File::from(copy).metadata()?.ino())
}

/// A message of so many bytes.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} bytes are more than the {FRAME_BYTES_MAX} that go to or from a worker process at once"
)]
pub(super) struct TooLong(pub(super) usize);

const HEAD: usize = 5;
const MESSAGE: u8 = b'm';
const OUTPUT: u8 = b'o';

fn set_head(frame: &mut [u8], kind: u8) -> Result<(), TooLong> {
    let length = frame.len() - HEAD;
    if length > FRAME_BYTES_MAX {
        return Err(TooLong(length));
    }
    frame[0] = kind;
    frame[1..HEAD].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// The frame of a message.
pub(super) fn message(message: &impl Serialize) -> Result<Vec<u8>, TooLong> {
    let mut frame = vec![0; HEAD];
    serde_json::to_writer(&mut frame, message).expect("plain data is JSON");
    set_head(&mut frame, MESSAGE)?;
    Ok(frame)
}

/// The frames of output.
pub(super) fn output(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    bytes.chunks(OUTPUT_BYTES).map(|bytes| {
        let mut frame = [&[0; HEAD], bytes].concat();
        set_head(&mut frame, OUTPUT).expect("a piece of output fits");
        frame
    })
}

/// One frame.
#[derive(Debug)]
pub(super) enum Frame<T> {
    Message(T),
    Output(Vec<u8>),
}

/// What has come of frames so far: one that is read in pieces is none the worse.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    /// Reads what there is, as the socket is set to; returns how much. Nothing is the end.
    pub(super) fn fill(&mut self, mut from: &UnixStream) -> io::Result<usize> {
        let had = self.0.len();
        self.0.resize(had + READ_BYTES, 0);
        let read = from.read(&mut self.0[had..]);
        self.0.truncate(had + read.as_ref().unwrap_or(&0));
        read
    }

    /// The next frame, if it is whole.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<Frame<T>>> {
        let Some((&[kind, ref length @ ..], rest)) = self.0.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(TooLong(length)));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = match kind {
            MESSAGE => Frame::Message(serde_json::from_slice(body)?),
            OUTPUT => Frame::Output(body.to_vec()),
            _ => return Err(io::Error::other("a frame of no known kind")),
        };
        self.0.drain(..HEAD + length);
        Ok(Some(frame))
    }
}

/// The duration since the machine's monotonic clock began, of a number on the wire.
pub(super) fn moment(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn frames_come_whole_however_they_were_cut() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let long = vec![b'x'; OUTPUT_BYTES + 1];
        let mut bytes = message(&Report::Ready).unwrap();
        bytes.extend(output(&long).flatten());
        bytes.extend(message(&Report::Done(End::Failed("no".to_owned()))).unwrap());
        let mut frames = Frames::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(7001) {
            theirs.write_all(piece).unwrap();
            frames.fill(&ours).unwrap();
            while let Some(frame) = frames.next::<Report>().unwrap() {
                got.push(match frame {
                    Frame::Message(report) => format!("{report:?}"),
                    Frame::Output(bytes) => bytes.len().to_string(),
                });
            }
        }
        let sizes = [OUTPUT_BYTES.to_string(), "1".to_owned()];
        assert_eq!(got[0], "Ready");
        assert_eq!(got[1..3], sizes);
        assert_eq!(got[3], "Done(Failed(\"no\"))");
        // Not by dropping it: a process that another test is just starting may hold it for a moment longer.
        theirs.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(frames.fill(&ours).unwrap(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_on_both_sides() {
        let text = "x".repeat(FRAME_BYTES_MAX);
        let error = message(&text).unwrap_err().to_string();
        assert!(
            error.starts_with("16777218 bytes are more than the 16777216"),
            "{error}"
        );
        let mut frames = Frames(vec![MESSAGE, 0xff, 0, 0, 0]);
        frames.next::<Report>().unwrap_err();
        let mut frames = Frames(vec![b'?', 0, 0, 0, 0]);
        frames.next::<Report>().unwrap_err();
        let mut frames = Frames(vec![MESSAGE, 0, 0, 0, 1, b'{']);
        frames.next::<Report>().unwrap_err();
    }

    #[test]
    fn a_run_arrives_as_it_left() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut run = Run::pending(NewRun {
            id: RunId(u128::MAX / 3),
            job_id: JobId::new("job").unwrap(),
            job_key: JobKey(u64::MAX / 2),
            kind: RunKind::Manual,
            scheduled_at: at(5),
            due_at: at(6),
            instance: 7,
        });
        let lease = Duration::from_secs(30);
        run.start(NodeId(8), Fence(9), at(10), lease).unwrap();
        run.attempt = 2;
        run.crashes = 1;
        run.scheduled_until = Some(at(11));
        run.count = 12;
        run.cancel_requested = true;
        let row = serde_json::to_vec(&RunRow::from(&run)).unwrap();
        let row: RunRow = serde_json::from_slice(&row).unwrap();
        assert_eq!(row.to_run().unwrap(), run);
    }
}

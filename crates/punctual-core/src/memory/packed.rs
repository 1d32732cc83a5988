//! A job's state in as few bytes as it takes: a million of them are held in memory.

use std::ops::{Deref, DerefMut};

use jiff::Timestamp;

use crate::id::{Fence, JobKey};
use crate::job::{JobState, Paused, Phase};
use crate::run::Run;

/// A moment that may be none, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(i64);

impl Moment {
    /// No timestamp: the first one is some 9,999 years before the epoch.
    const NONE: i64 = i64::MIN;

    fn pack(time: Option<Timestamp>) -> Self {
        Self(time.map_or(Self::NONE, Timestamp::as_microsecond))
    }

    fn unpack(self) -> Option<Timestamp> {
        // `ok` also turns NONE into none: it is out of a timestamp's range.
        Timestamp::from_microsecond(self.0).ok()
    }
}

/// [`JobState`], packed.
#[derive(Debug)]
pub(super) struct PackedState {
    key: JobKey,
    cursor: Moment,
    due_at: Moment,
    extra: Moment,
    manual_at: Moment,
    wake_at: Moment,
    paused: Option<Box<Paused>>,
    revision: u64,
    seq: u64,
    fence: Fence,
    live: u32,
    phase: Phase,
}

impl PackedState {
    pub(super) fn pack(state: JobState) -> Self {
        Self {
            key: state.key,
            cursor: Moment::pack(Some(state.cursor)),
            due_at: Moment::pack(state.due_at),
            extra: Moment::pack(state.extra),
            manual_at: Moment::pack(state.manual_at),
            wake_at: Moment::pack(state.wake_at),
            paused: state.paused,
            revision: state.revision,
            seq: state.seq,
            fence: state.fence,
            live: state.live,
            phase: state.phase,
        }
    }

    pub(super) fn unpack(&self) -> JobState {
        JobState {
            key: self.key,
            cursor: self
                .cursor
                .unpack()
                .expect("a cursor is always a timestamp"),
            due_at: self.due_at.unpack(),
            extra: self.extra.unpack(),
            manual_at: self.manual_at.unpack(),
            paused: self.paused.clone(),
            phase: self.phase,
            revision: self.revision,
            seq: self.seq,
            fence: self.fence,
            wake_at: self.wake_at.unpack(),
            live: self.live,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.wake_at.unpack()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn fence(&self) -> Fence {
        self.fence
    }
}

/// The live runs of a job, in eight bytes where there are none, as of most jobs most of the time.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "the smaller the empty one, the better"
)]
pub(super) struct LiveRuns(Option<Box<Vec<Run>>>);

impl LiveRuns {
    pub(super) fn new(runs: Vec<Run>) -> Self {
        Self((!runs.is_empty()).then(|| Box::new(runs)))
    }

    pub(super) fn push(&mut self, run: Run) {
        let runs = self.0.get_or_insert_default();
        runs.reserve_exact(1);
        runs.push(run);
    }

    pub(super) fn remove(&mut self, at: usize) {
        if let Some(runs) = &mut self.0 {
            runs.remove(at);
            if runs.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl Deref for LiveRuns {
    type Target = [Run];

    fn deref(&self) -> &[Run] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl DerefMut for LiveRuns {
    fn deref_mut(&mut self) -> &mut [Run] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

//! A job's state in as few bytes as it takes: a million of them are held in memory.

use jiff::Timestamp;

use crate::id::{Fence, JobKey};
use crate::job::{JobState, Paused, Phase};

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

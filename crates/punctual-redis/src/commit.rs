//! The one conditional write: what it expects, and the commands that it comes to, made ready for the script.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use punctual_backend::{After, BackendResult, Fate, Write, codec, listed_at};
use punctual_core::id::JobId;
use punctual_core::run::{Run, RunState};
use redis::Cmd;

use crate::backend::{Redis, Unit};
use crate::error::senseless;
use crate::keys::class;
use crate::rows;
use crate::script;
use crate::state::{self, Head};
use crate::value;

/// The most changes and rows that one script writes: some ten milliseconds.
const BATCH: usize = 2000;
/// The most arguments of one command: Lua's stack takes 8000.
const ARGS_MAX: usize = 4000;

/// The commands, in the order in which they are given: an entry that moves within a set is taken out before it is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Hset,
    Hdel,
    Zrem,
    Zadd,
    /// Only what is not there yet: a run that goes on keeps the lease that a renewal gave it since it was read.
    ZaddNew,
}

impl Verb {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Hset => ("HSET", ""),
            Self::Hdel => ("HDEL", ""),
            Self::Zrem => ("ZREM", ""),
            Self::Zadd => ("ZADD", ""),
            Self::ZaddNew => ("ZADD", "NX"),
        }
    }
}

/// Arguments, one behind the other.
#[derive(Debug, Default)]
struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    fn push(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        self.bytes.extend_from_slice(arg.as_ref());
        self.ends.push(self.bytes.len());
        self
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|at| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[start..self.ends[at]]
        })
    }
}

/// Changes that are judged together.
#[derive(Debug, Default)]
struct Batch {
    expected: Args,
    rows: Args,
    commands: BTreeMap<(Verb, String), Args>,
    fence: u64,
}

impl Redis {
    pub(crate) async fn write(
        &self,
        unit: &Unit,
        writes: &[Write],
        announce: bool,
    ) -> BackendResult<Vec<Fate>> {
        // What was not read in this unit cannot be compared.
        let is_known =
            |write: &Write| write.expected.is_none() || unit.seen.contains_key(&write.id);
        let mut fates: Vec<Option<Fate>> = writes
            .iter()
            .map(|write| (!is_known(write)).then_some(Fate::Stale))
            .collect();
        loop {
            let open = (0..writes.len()).filter(|&at| fates[at].is_none());
            let batch = choose(writes, open.clone());
            if batch.is_empty() {
                match open.clone().next() {
                    // It has the same new row twice.
                    Some(at) => fates[at] = Some(Fate::Contradiction),
                    None => return Ok(fates.into_iter().flatten().collect()),
                }
                continue;
            }
            let answer = self.write_all(unit, writes, &batch, announce).await?;
            let is_written = answer.iter().all(|&fate| fate == Fate::Written);
            for (&at, fate) in batch.iter().zip(answer) {
                // Where one does not hold, none is written: the others are tried again without it.
                if is_written || fate != Fate::Written {
                    fates[at] = Some(fate);
                }
            }
        }
    }

    /// Writes all of these, or says which do not hold.
    async fn write_all(
        &self,
        unit: &Unit,
        writes: &[Write],
        chosen: &[usize],
        announce: bool,
    ) -> BackendResult<Vec<Fate>> {
        let mut batch = Batch::default();
        for (number, &at) in chosen.iter().enumerate() {
            batch.add(&writes[at], number + 1, &unit.seen);
        }
        let answer = self
            .tell(&script::COMMIT, |command| {
                let channel = if announce { self.channel.as_str() } else { "" };
                let floor = unit.floor.map(|floor| floor.0.to_string());
                let fence = (batch.fence > 0).then(|| batch.fence.to_string());
                command
                    .arg(u8::from(unit.is_claim))
                    .arg(channel)
                    .arg(floor.unwrap_or_default())
                    .arg(fence.unwrap_or_default());
                batch.fill(command);
            })
            .await?;
        let answer = value::bytes(answer)?.unwrap_or_default();
        if answer.len() != chosen.len() {
            return Err(senseless("not one fate for each change"));
        }
        let fates = answer.into_iter().map(|fate| match fate {
            b'W' => Ok(Fate::Written),
            b'S' => Ok(Fate::Stale),
            b'C' => Ok(Fate::Contradiction),
            _ => Err(senseless("an unknown fate")),
        });
        fates.collect()
    }
}

/// Changes for one script, of those that are open. One that would contradict another of them waits for the next, and finds
/// none if it contradicts itself.
fn choose(writes: &[Write], open: impl Iterator<Item = usize>) -> Vec<usize> {
    let (mut ids, mut occurrences, mut runs) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut size = 0;
    let fits = open.take_while(|&at| {
        let write = &writes[at];
        size += 1 + write.insert.len() + write.update.len();
        let fits = size <= BATCH || ids.is_empty();
        fits && ids.insert(&write.id)
            && write
                .insert
                .iter()
                .all(|run| runs.insert(run.id) && occurrences.insert(rows::occurrence(run)))
    });
    fits.collect()
}

impl Batch {
    /// Adds a change, the number of which counts from 1.
    fn add(&mut self, write: &Write, number: usize, seen: &HashMap<JobId, Vec<u8>>) {
        let id = write.id.as_str();
        let old = seen.get(&write.id).and_then(|stored| Head::read(stored));
        self.expected.push(id);
        match write.expected {
            Some(version) => self.expected.push(format!("{} ", version.0)),
            None if matches!(write.after, After::Job { .. }) => self.expected.push("F"),
            None => self.expected.push("N"),
        };
        let live: Vec<u8> = write
            .live
            .iter()
            .flat_map(|run| rows::key(run.id))
            .collect();
        let version = state::next_version(write.expected);
        match &write.after {
            After::Job {
                state: job,
                definition,
                document,
                is_new,
            } => {
                let listed = state::place(listed_at(job));
                let head = Head {
                    version,
                    wake_at: job.wake_at.map(Timestamp::as_microsecond),
                    listed: Some(&listed),
                    flag: state::flag(job),
                    class: &class(definition.executor.as_str(), definition.task.as_str()),
                    live: &live,
                };
                self.put_head(id, old.as_ref().map(|(head, _)| head), Some(&head));
                self.at(Verb::Hset, "state")
                    .push(id)
                    .push(head.write(&codec::write_state(job)));
                if *is_new {
                    self.at(Verb::Hset, "definitions")
                        .push(id)
                        .push(document.as_bytes());
                }
            }
            After::Nothing { fence } => {
                self.fence = self.fence.max(fence.0);
                self.put_head(id, old.as_ref().map(|(head, _)| head), None);
                if write.expected.is_some() {
                    self.at(Verb::Zrem, "ids").push(id);
                    self.at(Verb::Hdel, "definitions").push(id);
                }
                if live.is_empty() {
                    self.at(Verb::Hdel, "state").push(id);
                } else {
                    let trace = Head {
                        version,
                        wake_at: None,
                        listed: None,
                        flag: 't',
                        class: "\n",
                        live: &live,
                    };
                    let text = trace.write(&state::write_trace(*fence));
                    self.at(Verb::Hset, "state").push(id).push(text);
                }
            }
            // Where not even the head can be read, there is nothing to add to it.
            After::Unread { wake_at } => {
                if let Some((old, json)) = &old {
                    let latest = wake_at.as_microsecond();
                    let wake_at = match old.flag {
                        'a' => Some(old.wake_at.map_or(latest, |wake_at| wake_at.min(latest))),
                        _ => old.wake_at,
                    };
                    let head = Head {
                        version,
                        wake_at,
                        live: &live,
                        ..*old
                    };
                    self.put_head(id, Some(old), Some(&head));
                    let text = [&head.write(""), *json].concat();
                    self.at(Verb::Hset, "state").push(id).push(text);
                }
            }
        }
        for run in &write.insert {
            let (key, occurrence) = (rows::key(run.id), rows::occurrence(run));
            self.rows
                .push(key)
                .push(&occurrence)
                .push(number.to_string());
            self.at(Verb::Hset, "occurrences")
                .push(occurrence)
                .push(key);
            let member = [id.as_bytes(), b"\0", &key].concat();
            self.at(Verb::Zadd, "of_job").push("0").push(member);
            self.put_row(run);
        }
        for run in &write.update {
            self.take_row(run);
            self.put_row(run);
        }
    }

    fn at(&mut self, verb: Verb, key: &str) -> &mut Args {
        self.commands.entry((verb, key.to_owned())).or_default()
    }

    /// Moves a job in the lists from where it stood to where it stands.
    fn put_head(&mut self, id: &str, old: Option<&Head<'_>>, new: Option<&Head<'_>>) {
        let due = |head: &Head<'_>| Some((format!("due:{}", head.class), head.wake_at?));
        let (old_due, new_due) = (old.and_then(due), new.and_then(due));
        if old_due != new_due {
            if let Some((class, _)) = &old_due
                && new_due.as_ref().is_none_or(|(new, _)| new != class)
            {
                self.at(Verb::Zrem, class).push(id);
            }
            if let Some((class, wake_at)) = &new_due {
                self.at(Verb::Zadd, class)
                    .push(wake_at.to_string())
                    .push(id);
            }
        }
        let listed = |head: &Head<'_>| head.listed.map(str::to_owned);
        let (old_listed, new_listed) = (old.and_then(listed), new.and_then(listed));
        if old_listed != new_listed {
            if let Some(place) = &old_listed {
                self.at(Verb::Zrem, "listed").push(format!("{place}{id}"));
            }
            if let Some(place) = &new_listed {
                self.at(Verb::Zadd, "listed")
                    .push("0")
                    .push(format!("{place}{id}"));
            }
        }
        if old_listed.is_none() && new_listed.is_some() {
            self.at(Verb::Zadd, "ids").push("0").push(id);
        }
    }

    fn put_row(&mut self, run: &Run) {
        let key = rows::key(run.id);
        self.at(Verb::Hset, "runs")
            .push(key)
            .push(codec::write_run(run));
        let score = rows::score(run).to_string();
        match run.state() {
            RunState::Pending => {
                self.at(Verb::Zadd, "runs:pending").push("0").push(key);
            }
            RunState::Running => {
                self.at(Verb::ZaddNew, "leases").push(score).push(key);
            }
            over => {
                self.at(Verb::Zadd, &format!("runs:{over}"))
                    .push("0")
                    .push(key);
                self.at(Verb::Zadd, &format!("ended:{over}"))
                    .push(score)
                    .push(key);
            }
        }
    }

    /// Takes a row that changes out of where it may have stood.
    fn take_row(&mut self, run: &Run) {
        let key = rows::key(run.id);
        let (ran, waited) = match run.state() {
            RunState::Pending => (true, false),
            RunState::Running => (false, true),
            // One that has begun ran; one that has not waited, or was given back and withdrawn at once.
            _ => (true, run.started_at.is_none()),
        };
        if ran {
            self.at(Verb::Zrem, "leases").push(key);
        }
        if waited {
            self.at(Verb::Zrem, "runs:pending").push(key);
        }
    }

    fn fill(&self, command: &mut Cmd) {
        command.arg(self.expected.ends.len() / 2);
        for arg in self.expected.iter() {
            command.arg(arg);
        }
        command.arg(self.rows.ends.len() / 3);
        for arg in self.rows.iter() {
            command.arg(arg);
        }
        for ((verb, key), args) in &self.commands {
            let (word, option) = verb.words();
            let mut args = args.iter();
            while args.len() > 0 {
                let count = args.len().min(ARGS_MAX);
                command.arg(word).arg(key).arg(option).arg(count);
                for arg in args.by_ref().take(count) {
                    command.arg(arg);
                }
            }
        }
    }
}

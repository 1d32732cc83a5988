//! Signals to processes by number.

pub(crate) use rustix::process::Signal;

pub(crate) const KILL: Signal = Signal::KILL;
pub(crate) const STOP: Signal = Signal::STOP;

pub(crate) fn send(process: u32, signal: Signal) {
    rustix::process::kill_process(crate::bench::pid(process), signal).expect("it is there");
}

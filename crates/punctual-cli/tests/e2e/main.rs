//! The real binary: served, used through its own client commands, killed, frozen and started again.

#![cfg(unix)]

mod client;
mod crash;
mod outage;
mod supervised;
mod support;
mod torture;

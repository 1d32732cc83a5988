//! What goes with a schedule.

#![allow(unused)]

use punctual::task;

#[task(id = "nightly")]
async fn with_id() {}

#[task(timezone = "Europe/Paris")]
async fn with_zone() {}

#[task(args(days = 30))]
async fn with_args(days: u32) {}

fn main() {}

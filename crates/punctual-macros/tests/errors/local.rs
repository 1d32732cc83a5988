//! Local tasks share a thread.

#![allow(unused)]

use punctual::task;

#[task(local)]
fn blocks() {}

#[task(local, every = "1h")]
async fn declares() {}

fn main() {}

//! Jobs give arguments by name.

#![allow(unused)]

use punctual::task;
use punctual::task::Args;

#[task]
async fn span((from, to): (u32, u32)) {}

#[task]
async fn ignore(_: u32) {}

#[task]
async fn extract(args: Args<u32>) {}

fn main() {}

//! Arguments are read from JSON for each run.

#![allow(unused)]

use std::borrow::Cow;

use punctual::task;

#[task]
async fn greet(name: &str) {}

#[task]
async fn load(days: &[u32], path: Option<&std::path::Path>) {}

#[task]
fn hail(name: Cow<'_, str>) {}

fn main() {}

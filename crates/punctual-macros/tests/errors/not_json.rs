//! Arguments are stored as JSON.

#![allow(unused)]

use std::rc::Rc;

use punctual::task;
use serde::{Deserialize, Serialize};

struct Filter;

#[derive(Serialize)]
struct Written;

#[derive(Serialize, Deserialize)]
struct Shared {
    name: Rc<str>,
}

#[task]
async fn neither(days: u32, filter: Filter) {}

#[task]
async fn half(#[default = Written] filter: Written) {}

#[task]
async fn unsendable(shared: Shared) {}

fn main() {}

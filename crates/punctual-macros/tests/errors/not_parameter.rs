//! What is injected makes itself from the run.

#![allow(unused)]

use punctual::task;

struct Database;

#[task]
async fn query(#[inject] database: Database) {}

fn main() {}

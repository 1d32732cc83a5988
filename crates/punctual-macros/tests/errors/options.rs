//! What a declared job is given beside its schedule.

#![allow(unused)]

use punctual::prelude::*;

#[task(timeout = std::time::Duration::from_secs(5))]
async fn without_schedule() {}

#[task(every = "1h", timeout)]
async fn without_value() {}

#[task(every = "1h", max_instances = "two")]
async fn of_another_type() {}

#[task(every = "1h", retries = 5)]
async fn misnamed() {}

fn main() {}

//! A task declares one job.

#![allow(unused)]

use punctual::task;

#[task(cron = "hour=3", every = "90s")]
async fn cleanup() {}

fn main() {}

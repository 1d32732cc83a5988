//! Schedules are read while the program is compiled.

#![allow(unused)]

use punctual::task;

#[task(cron = "hour=25")]
async fn late() {}

#[task(cron = "huor=2")]
async fn misspelt() {}

#[task(cron = "0 3 * * *")]
async fn crontab_as_cron() {}

#[task(crontab = "0 25 * * *")]
async fn beyond() {}

#[task(every = "soon")]
async fn soon() {}

#[task(every = "0s")]
async fn always() {}

#[task(at = "Christmas")]
async fn christmas() {}

#[task(cron = "month=2 day=30")]
async fn never() {}

#[task(cron = "hour=3", timezone = "Europe/Pari")]
async fn nowhere() {}

#[task(cron = "hour=3 timezone=Europe/Paris", timezone = "Europe/Rome")]
async fn everywhere() {}

fn main() {
    // The tasks are there all the same.
    let _ = late();
}

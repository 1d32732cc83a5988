//! A key that is not known is an error, with the likely one.

#![allow(unused)]

use punctual::task;

#[task(corn = "hour=3")]
async fn misspelt() {}

#[task(cron = "hour=3", tz = "Europe/Paris")]
async fn zoned() {}

#[task(minute = 5)]
async fn minutely() {}

#[task(blocking)]
fn blocks() {}

#[task(colour)]
async fn coloured() {}

#[task(id = "a", cron = "hour=3", id = "b")]
async fn twice() {}

fn main() {}

//! A job that the code declares gives all that has no default.

#![allow(unused)]

use punctual::task;

#[task(cron = "hour=3", args(limit = 5))]
async fn cleanup(days: u32, #[default = 10] limit: u32) {}

#[task(every = "1h", args(dyas = 30))]
async fn misspelt(#[default = 1] days: u32) {}

#[task(every = "1h", args(days = 30, days = 31))]
async fn twice(days: u32) {}

#[task(every = "1h", args(days = 30))]
async fn nothing() {}

#[task(every = "1h", args(days = "thirty"))]
async fn mistyped(days: u32) {}

fn main() {}

//! What a key takes.

#![allow(unused)]

use punctual::task;

#[task(every = 10)]
async fn number() {}

#[task(cron)]
async fn nothing() {}

#[task("cleanup")]
async fn bare() {}

#[task(name = "")]
async fn empty() {}

#[task(name = "punctual:cleanup")]
async fn reserved() {}

#[task(every = "1h", id = "a\nb")]
async fn control() {}

fn main() {}

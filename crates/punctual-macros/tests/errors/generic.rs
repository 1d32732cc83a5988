//! Jobs call a task by one name, with JSON.

#![allow(unused)]

use std::fmt::Display;

use punctual::task;

#[task]
async fn show<T: Display>(what: T) {}

#[task]
async fn print(what: impl Display, times: u32) {}

#[task]
async fn check(days: u32)
where
    u32: Display,
{
}

fn main() {}

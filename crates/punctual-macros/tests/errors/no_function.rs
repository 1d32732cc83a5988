//! `#[task]` goes on a function.

#![allow(unused)]

use punctual::task;

#[task]
struct Cleanup {
    days: u32,
}

fn main() {}

//! A task is a plain function.

#![allow(unused)]

use punctual::task;

#[task]
async unsafe fn poke(at: usize) {}

#[task]
const fn add(a: u32, b: u32) {}

#[task]
extern "C" fn call(a: u32) {}

#[task]
unsafe extern "C" fn printf(format: String, ...) {}

fn main() {}

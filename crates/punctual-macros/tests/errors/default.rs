//! `#[default = value]`, before an argument.

#![allow(unused)]

use punctual::prelude::*;

#[task]
async fn none(#[default] limit: u32) {}

#[task]
async fn brackets(#[default(10)] limit: u32) {}

#[task]
async fn twice(#[default = 1] #[default = 2] limit: u32) {}

#[task]
async fn injected(#[default = 1] run: RunContext) {}

#[task]
async fn conditional(#[cfg(test)] limit: u32) {}

#[task]
async fn mistyped(#[default = "ten"] limit: u32) {}

fn main() {}

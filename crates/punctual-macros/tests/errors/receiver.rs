//! A stored job has no `self`.

#![allow(unused)]

use punctual::task;

struct Mailer;

impl Mailer {
    #[task]
    async fn remind(&self, days: u32) {}
}

fn main() {}

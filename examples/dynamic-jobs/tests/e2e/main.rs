//! The service as its clients see it: the real binary, over HTTP.

mod client;
mod cluster;
mod life;
mod place;
mod safety;
mod support;
mod walk;

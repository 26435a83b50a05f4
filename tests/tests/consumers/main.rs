//! Consumers: order, positions, faults, read models, and services of several consumers.
#![allow(missing_docs)]

mod counted;
mod diagnosed;
mod faults;
mod order;
mod paused;
mod positions;
mod read_models;
mod reported;
mod services;
mod stuck;
mod writes;

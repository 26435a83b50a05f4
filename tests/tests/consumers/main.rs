//! Consumers: order, positions, faults, read models, and services of several consumers.
#![allow(missing_docs)]

mod faults;
mod order;
mod positions;
mod read_models;
mod services;
mod stuck;
mod writes;

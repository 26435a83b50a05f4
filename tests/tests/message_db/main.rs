//! Message DB and Eventide: their databases, functions, clients and rows.
#![allow(missing_docs)]

mod adoption;
mod eventide_rows;
mod foreign_metadata;
mod foreign_rows;
mod functions;
mod rights;
mod writers;

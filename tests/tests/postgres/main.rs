//! The store on PostgreSQL: its bounds, plans and rights, and servers that stop, fail over or stay silent.
#![allow(missing_docs)]

mod bounds;
mod clusters;
mod connection_budget;
mod diagnosed;
mod everything;
mod failover;
mod hostile;
mod indexes;
mod locked_categories;
mod outages;
mod own_transaction;
mod plans;
mod pooler;
mod probes;
mod promotions;
mod protections;
mod random_locks;
mod schema;
mod standby_reads;
mod synchronous;
mod tls;
mod upgrade;
